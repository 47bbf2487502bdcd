// Drives the server with the TypeScript SDK 1.x and prints what a host saw; no part of the package.
// Usage: node drive_typescript.mjs PICTURE COMMAND [ARGUMENT...]
//    or: node drive_typescript.mjs PICTURE URL TOKEN
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

import { travel } from "./journey.mjs";

const [picture, command, ...args] = process.argv.slice(2);
const progress = [];
const questions = [];
const client = new Client({ name: "hosts", version: "1" }, { capabilities: { elicitation: { form: {} } } });
client.setRequestHandler(ElicitRequestSchema, async (request) => {
  questions.push(request.params.message);
  return { action: "accept", content: { approve: true } };
});
const connectTo = (url, token) =>
  new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } });
const transport = command.startsWith("http")
  ? connectTo(command, args[0])
  : new StdioClientTransport({ command, args, env: process.env });
await client.connect(transport);
const call = (name, values) =>
  client.callTool({ name, arguments: values }, undefined, { onprogress: ({ progress: value }) => progress.push(value) });
const tools = (await client.listTools()).tools;
const { refused, quote, job } = await travel(call, (result) => result.isError ? null : result.structuredContent, picture);
const resource = await client.readResource({ uri: `seedance://jobs/${job.structuredContent.job_id}` });
const prompts = (await client.listPrompts()).prompts;
console.log(
  JSON.stringify({
    protocol: client.transport?.protocolVersion ?? client.getNegotiatedProtocolVersion?.() ?? null,
    tools: tools.map((tool) => tool.name),
    refused: refused.content[0].text,
    refused_is_error: refused.isError,
    price: quote.structuredContent.price_usd,
    job: job.structuredContent,
    content: job.content.map((part) => part.type),
    progress,
    questions,
    resource: JSON.parse(resource.contents[0].text),
    prompts: prompts.map((prompt) => prompt.name),
  }),
);
await client.close();
