package main

import (
	"bytes"
	"context"

	"github.com/opensearch-project/opensearch-go/v4"
	"github.com/opensearch-project/opensearch-go/v4/opensearchapi"
	"github.com/opensearch-project/opensearch-go/v4/opensearchutil"
)

func withOpenSearch(w *work) error {
	client, err := opensearchapi.NewClient(opensearchapi.Config{Client: opensearch.Config{Addresses: []string{w.url}}})
	if err != nil {
		return err
	}
	indexer, err := opensearchutil.NewBulkIndexer(opensearchutil.BulkIndexerConfig{
		Client: client, Index: w.index, FlushBytes: w.flushBytes, OnError: w.onError,
	})
	if err != nil {
		return err
	}
	for _, document := range w.documents {
		err := indexer.Add(context.Background(), opensearchutil.BulkIndexerItem{
			Action: "create",
			Body:   bytes.NewReader(document),
			OnSuccess: func(context.Context, opensearchutil.BulkIndexerItem, opensearchapi.BulkRespItem) {
				w.ok.Add(1)
			},
		})
		if err != nil {
			return err
		}
	}
	err = indexer.Close(context.Background())
	w.failed.Store(int64(indexer.Stats().NumFailed))
	return err
}
