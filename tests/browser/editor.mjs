// Asks the language server of VS Code's YAML extension what it makes of pipelines, with the schema
// that `tidemill init` has written.
//
//   TIDEMILL_BROWSER   a directory with node_modules, as `cargo xtask test` makes it
//   node editor.mjs PROJECT
//
// The project is the one that tests/e2e/browser.rs makes.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const project = resolve(process.argv[2]);
const program = join(process.env.TIDEMILL_BROWSER, "node_modules/yaml-language-server/bin/yaml-language-server");
const server = spawn("node", [program, "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });

// What VS Code would read from the project's settings.
const settings = JSON.parse(readFileSync(join(project, ".vscode/settings.json"), "utf8"));
const schemas = Object.fromEntries(Object.entries(settings["yaml.schemas"]).map(([schema, glob]) =>
  [pathToFileURL(join(project, schema)).href, glob]));
const yaml = { schemas, validate: true, completion: true, hover: true, schemaStore: { enable: false } };

// The protocol: JSON-RPC in messages with a length.
let answers = new Map();
let told = [];
let next = 1;
function send(message) {
  const text = JSON.stringify({ jsonrpc: "2.0", ...message });
  server.stdin.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
}
function ask(method, params) {
  const id = next++;
  send({ id, method, params });
  return new Promise((done, fail) => {
    answers.set(id, (message) => (message.error ? fail(new Error(message.error.message)) : done(message.result)));
    setTimeout(() => fail(new Error(`no answer to ${method}`)), 60_000).unref();
  });
}
function take(message) {
  if (message.method === "workspace/configuration") {
    const value = { yaml, http: {}, "yaml.schemas": schemas, editor: {}, files: {} };
    send({ id: message.id, result: message.params.items.map((item) => value[item.section] ?? null) });
  } else if (message.method && message.id !== undefined) {
    send({ id: message.id, result: null });
  } else if (message.method === "textDocument/publishDiagnostics") {
    told.push(message.params);
  } else if (message.id !== undefined) {
    answers.get(message.id)?.(message);
  }
}
let buffer = Buffer.alloc(0);
server.stdout.on("data", (data) => {
  buffer = Buffer.concat([buffer, data]);
  for (;;) {
    const head = buffer.indexOf("\r\n\r\n");
    if (head < 0) return;
    const length = Number(/Content-Length: (\d+)/i.exec(buffer.subarray(0, head).toString())[1]);
    if (buffer.length < head + 4 + length) return;
    const body = buffer.subarray(head + 4, head + 4 + length).toString();
    buffer = buffer.subarray(head + 4 + length);
    take(JSON.parse(body));
  }
});

const root = pathToFileURL(project).href;
await ask("initialize", {
  processId: process.pid,
  rootUri: root,
  workspaceFolders: [{ uri: root, name: "project" }],
  capabilities: { workspace: { configuration: true, workspaceFolders: true }, textDocument: { completion: { completionItem: {} } } },
});
send({ method: "initialized", params: {} });
send({ method: "workspace/didChangeConfiguration", params: { settings: { yaml } } });

let version = 0;
// Opens a text as a pipeline of the project; gives its address.
function open(text) {
  const uri = `${root}/pipelines/opened_${++version}.yaml`;
  send({ method: "textDocument/didOpen", params: { textDocument: { uri, languageId: "yaml", version, text } } });
  return uri;
}
// What is said of a text: at first that may be nothing, until the schema is read.
async function problems(text, patience = 30_000) {
  const uri = open(text);
  for (const start = Date.now(); Date.now() - start < patience;) {
    const found = told.findLast((one) => one.uri === uri)?.diagnostics ?? [];
    if (found.length > 0) return found.map((one) => `${one.range.start.line + 1}: ${one.message}`);
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.ok(told.some((one) => one.uri === uri), "the server says nothing of a file");
  return [];
}
// What is offered where `|` stands in the text.
async function offered(text) {
  const before = text.slice(0, text.indexOf("|"));
  const uri = open(text.replace("|", ""));
  const position = { line: before.split("\n").length - 1, character: before.length - before.lastIndexOf("\n") - 1 };
  const list = await ask("textDocument/completion", { textDocument: { uri }, position });
  return list.items.map((item) => item.label);
}

// Mistakes are found where they are.
const wrong = await problems("name: p\ntasks:\n  a:\n    uses: shell\n    depends_on: [b]\n    with: {run: 'true', comand: x}\n");
assert.ok(wrong.some((one) => one.startsWith("5:") && one.includes("depends_on")), wrong.join("\n"));
assert.ok(wrong.some((one) => one.startsWith("6:") && one.includes("comand")), wrong.join("\n"));

// The pipelines that are shipped are good; the schema is read by now.
for (const name of process.argv.slice(3)) {
  assert.deepEqual(await problems(readFileSync(join(project, name), "utf8"), 1500), [], name);
}

// Kinds, keys and the options of the kind that is used.
const kinds = await offered("name: p\ntasks:\n  a:\n    uses: |\n");
for (const kind of ["shell", "etl", "land", "report"]) assert.ok(kinds.includes(kind), kinds.join());
const keys = await offered("name: p\ntasks:\n  a:\n    uses: shell\n    |\n");
for (const key of ["with", "needs", "retry", "outputs"]) assert.ok(keys.includes(key), keys.join());
const options = await offered("name: p\ntasks:\n  a:\n    uses: shell\n    with:\n      |\n");
for (const option of ["run", "command", "working_directory"]) assert.ok(options.includes(option), options.join());
assert.ok(!options.includes("rules"), options.join());
const others = await offered("name: p\ntasks:\n  a:\n    uses: etl\n    with:\n      |\n");
assert.ok(others.includes("rules") && !others.includes("command"), others.join());

server.kill();
console.log("completed");
