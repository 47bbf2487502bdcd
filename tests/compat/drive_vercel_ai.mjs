// Use the server's tools in the Vercel AI SDK, and print what a model gets; no part of the package.
// Usage: node drive_vercel_ai.mjs PICTURE COMMAND [ARGUMENT...]
import { createMCPClient } from "@ai-sdk/mcp";
import { Experimental_StdioMCPTransport as StdioTransport } from "@ai-sdk/mcp/mcp-stdio";
import { asSchema } from "ai";

import { textOf, travelAndSummarise } from "./journey.mjs";

const [picture, command, ...args] = process.argv.slice(2);
const client = await createMCPClient({ transport: new StdioTransport({ command, args, env: process.env }) });
const tools = await client.tools();
const call = (name, values) => tools[name].execute(values, { toolCallId: "1", messages: [] });
const read = (result) => (result.isError ? null : JSON.parse(textOf(result)));
const seen = await travelAndSummarise(call, read, picture);
const schemas = {};
for (const [name, tool] of Object.entries(tools)) schemas[name] = await asSchema(tool.inputSchema).jsonSchema;
console.log(
  JSON.stringify({
    protocol: null,
    tools: schemas,
    described: Object.keys(tools).filter((name) => tools[name].description),
    ...seen,
  }),
);
await client.close();
