// Writes documents with helpers.bulk of an Elasticsearch or OpenSearch client for Node.
//
// usage: driver.js LIBRARY HELPER URL INDEX FILE [HELPER URL INDEX FILE]...
//
// LIBRARY is a dependency in package.json, HELPER is bulk, FILE has a JSON document on each line. All settings are the
// library's own, but for the size of a request: a test has few documents and wants several requests. The jobs run side
// by side, each with a client of its own. Each ends with a line on standard output, in any order:
// {"job": number from 0, "ok": documents confirmed, "failed": documents refused one by one, "error": text or null}
'use strict'

const fs = require('fs')

const REQUESTS = 3

async function write (Client, helper, url, index, path, said) {
  const text = fs.readFileSync(path, 'utf8')
  const client = new Client({ node: url })
  const result = await client.helpers[helper]({
    datasource: text.trimEnd().split('\n').map((line) => JSON.parse(line)),
    onDocument: () => ({ create: { _index: index } }),
    flushBytes: Math.ceil(Buffer.byteLength(text) / REQUESTS)
  })
  said.ok = result.successful
  said.failed = result.failed
}

async function run (job, Client, jobArguments) {
  const said = { job, ok: 0, failed: 0, error: null }
  try {
    await write(Client, ...jobArguments, said)
  } catch (error) { // whatever it is, it is what the program would have heard
    said.error = `${error.name}: ${error.message}`.slice(0, 300)
  }
  console.log(JSON.stringify(said))
}

const [library, ...rest] = process.argv.slice(2)
if (rest.length === 0 || rest.length % 4 !== 0) {
  console.error('usage: driver.js LIBRARY HELPER URL INDEX FILE [HELPER URL INDEX FILE]...')
  process.exit(2)
}
const { Client } = require(library)
for (let at = 0; at < rest.length; at += 4) {
  run(at / 4, Client, rest.slice(at, at + 4))
}
