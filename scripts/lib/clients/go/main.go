// Writes documents with the BulkIndexer of an Elasticsearch or OpenSearch client for Go.
//
// usage: go-clients LIBRARY HELPER URL INDEX FILE [HELPER URL INDEX FILE]...
//
// LIBRARY is 7, 8, 9 or opensearch, HELPER is BulkIndexer, FILE has a JSON document on each line. All settings are the
// library's own, but for the size of a request: a test has few documents and wants several requests. The jobs run side
// by side, each with a client of its own. Each ends with a line on standard output, in any order:
// {"job": number from 0, "ok": documents confirmed, "failed": documents refused, "error": text or null}
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

const requestsPerWorker = 2

// work is one job: what to write where, and what came of it.
type work struct {
	url, index string
	documents  [][]byte
	flushBytes int

	ok, failed atomic.Int64
	lock       sync.Mutex
	err        error
}

func (w *work) onError(_ context.Context, err error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.err = err
}

var libraries = map[string]func(*work) error{"7": with7, "8": with8, "9": with9, "opensearch": withOpenSearch}

func write(library func(*work) error, url, index, path string) (*work, error) {
	w := &work{url: url, index: index}
	text, err := os.ReadFile(path)
	if err != nil {
		return w, err
	}
	w.documents = bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	// The documents are spread over one worker for each core, which is the default.
	w.flushBytes = len(text) / (requestsPerWorker * runtime.NumCPU())
	return w, library(w)
}

func run(job int, library func(*work) error, arguments []string) string {
	w, err := write(library, arguments[1], arguments[2], arguments[3])
	if err == nil {
		err = w.err
	}
	said := map[string]any{"job": job, "ok": w.ok.Load(), "failed": w.failed.Load(), "error": nil}
	if err != nil {
		said["error"] = fmt.Sprintf("%.300s", err)
	}
	line, _ := json.Marshal(said)
	return string(line)
}

func main() {
	if len(os.Args) < 6 || (len(os.Args)-2)%4 != 0 || libraries[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go-clients 7|8|9|opensearch HELPER URL INDEX FILE [HELPER URL INDEX FILE]...")
		os.Exit(2)
	}
	jobs := os.Args[2:]
	lines := make(chan string)
	for at := 0; at < len(jobs); at += 4 {
		go func() { lines <- run(at/4, libraries[os.Args[1]], jobs[at:at+4]) }()
	}
	for at := 0; at < len(jobs); at += 4 {
		fmt.Println(<-lines)
	}
}
