package main

import (
	"bytes"
	"context"

	elasticsearch "github.com/elastic/go-elasticsearch/v7"
	"github.com/elastic/go-elasticsearch/v7/esutil"
)

func with7(w *work) error {
	client, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{w.url}})
	if err != nil {
		return err
	}
	indexer, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{
		Client: client, Index: w.index, FlushBytes: w.flushBytes, OnError: w.onError,
	})
	if err != nil {
		return err
	}
	for _, document := range w.documents {
		err := indexer.Add(context.Background(), esutil.BulkIndexerItem{
			Action: "create",
			Body:   bytes.NewReader(document),
			OnSuccess: func(context.Context, esutil.BulkIndexerItem, esutil.BulkIndexerResponseItem) {
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
