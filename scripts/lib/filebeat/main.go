// Filebeat as Elastic publishes it, built from its Go module: the released
// packages are not in any package registry, the module is. Only the inputs of
// the Apache-2.0 part are in it (log, filestream, stdin, ...), no modules.
package main

import (
	"os"

	"github.com/elastic/beats/v7/filebeat/cmd"
	inputs "github.com/elastic/beats/v7/filebeat/input/default-inputs"
)

func main() {
	if err := cmd.Filebeat(inputs.Init, cmd.FilebeatSettings()).Execute(); err != nil {
		os.Exit(1)
	}
}
