// Use the server over streamable HTTP behind supergateway, and print what a model gets; no part of the package.
// Usage: node drive_supergateway.mjs PICTURE COMMAND [ARGUMENT...]
import { spawn } from "node:child_process";
import { createServer } from "node:net";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { travelAndSummarise } from "./journey.mjs";

const START_ATTEMPTS_MAX = 100;
const [picture, ...server] = process.argv.slice(2);
const port = await new Promise((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port: free } = probe.address();
    probe.close(() => resolve(free));
  });
});
const words = ["--stdio", server.join(" "), "--outputTransport", "streamableHttp", "--stateful", "--port", String(port)];
const gateway = spawn("node_modules/.bin/supergateway", words, { stdio: ["ignore", "ignore", "inherit"] });
let client = null;
for (let attempts = 0; client === null; attempts += 1) {
  const next = new Client({ name: "hosts", version: "1" });
  try {
    await next.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/mcp`)));
    client = next;
  } catch (error) {
    if (attempts >= START_ATTEMPTS_MAX) throw error;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
const call = (name, values) => client.callTool({ name, arguments: values });
const read = (result) => (result.isError ? null : result.structuredContent);
const { tools } = await client.listTools();
const seen = await travelAndSummarise(call, read, picture);
console.log(
  JSON.stringify({
    protocol: client.transport?.protocolVersion ?? null,
    tools: Object.fromEntries(tools.map((tool) => [tool.name, tool.inputSchema])),
    described: tools.filter((tool) => tool.description).map((tool) => tool.name),
    ...seen,
  }),
);
await client.close();
gateway.kill();
