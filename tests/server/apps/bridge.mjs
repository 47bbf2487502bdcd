// The host's side of MCP Apps by the specification's own package: it checks every message of the page against its schemas.
import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";

const heard = (window.heard = []);
let bridge;

window.startPage = async (address, capabilities, context) => {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.style.cssText = "width: 100%; border: 0";
  document.body.append(frame);
  bridge = new AppBridge(null, { name: "bridge", version: "1" }, capabilities, { hostContext: context });
  const note = (method, answer) => async (params) => {
    heard.push({ jsonrpc: "2.0", method, params });
    return answer ? answer(params) : {};
  };
  bridge.oncalltool = note("tools/call", (params) => window.askServer("tools/call", params));
  bridge.onreadresource = note("resources/read", (params) => window.askServer("resources/read", params));
  bridge.onmessage = note("ui/message");
  bridge.onopenlink = note("ui/open-link");
  bridge.onsizechange = (params) => {
    heard.push({ jsonrpc: "2.0", method: "ui/notifications/size-changed", params });
    frame.style.height = `${params.height}px`;
  };
  bridge.onerror = (error) => heard.push({ jsonrpc: "2.0", method: "error", params: String(error) });
  const ready = new Promise((resolve) => { bridge.oninitialized = resolve; });
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.src = address;
  await ready;
  heard.push({ jsonrpc: "2.0", method: "app", params: [bridge.getAppVersion(), bridge.getAppCapabilities()] });
};

window.tellPage = (method, params) => {
  if (method.endsWith("tool-input")) return bridge.sendToolInput(params);
  if (method.endsWith("tool-result")) return bridge.sendToolResult(params);
  return bridge.setHostContext(params);
};
