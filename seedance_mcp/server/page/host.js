// Host: speaks MCP Apps with the page around this one, and with no other. It never calls a tool that spends.
// Source: SEP-1865, revision 2026-01-26.
import { readObject } from "./values.js";

/** @typedef {import("./types").Data} Data */
/** @typedef {import("./types").Told} Told */
/** @typedef {{ resolve: (result: Data) => void, reject: (error: Error) => void, timer: number }} Waiter */

const PROTOCOL = "2026-01-26";
const PAGE = { name: "seedance-clip", version: "1" };
const ANSWER_MS = 90_000;
const METHOD_NOT_FOUND = -32601;

/** @type {Map<unknown, Waiter>} */
const waiters = new Map();
/** @type {Data} */
let capabilities = {};
/** @type {Data} */
let context = {};
let lastId = 0;
let ended = false;

/**
 * Introduces the page to the host, and listens to it.
 * @param {Record<string, Told>} notifications What to do on each notification.
 */
export async function connect(notifications) {
  window.addEventListener("message", (event) => {
    if (event.source === window.parent) receive(readObject(event.data), notifications);
  });
  const hello = await request("ui/initialize", {
    protocolVersion: PROTOCOL,
    appInfo: PAGE,
    appCapabilities: { availableDisplayModes: ["inline"] },
  });
  capabilities = readObject(hello.hostCapabilities);
  adopt(readObject(hello.hostContext));
}

/** Reports that the page is ready, and from now on its size. */
export function announceReady() {
  notify("ui/notifications/initialized", {});
  new ResizeObserver(reportSize).observe(document.body);
}

/**
 * @param {string} method
 * @param {Data} params
 * @returns {Promise<Data>}
 */
export function request(method, params) {
  return new Promise((resolve, reject) => {
    const id = ++lastId;
    const timer = window.setTimeout(() => {
      waiters.delete(id);
      reject(new Error("no answer"));
    }, ANSWER_MS);
    waiters.set(id, { resolve, reject, timer });
    post({ id, method, params });
  });
}

/**
 * Returns true if the host offers something to pages.
 * @param {"message" | "openLinks" | "serverResources" | "serverTools"} what
 */
export function offers(what) {
  return Boolean(capabilities[what]);
}

/** Returns what the host said of itself and of the call. */
export function readContext() {
  return context;
}

/** Returns true once the host has said that it closes the page. */
export function hasEnded() {
  return ended;
}

/**
 * Takes over the colours, the font and the language of the host.
 * @param {Data} changed
 */
export function adopt(changed) {
  context = { ...context, ...changed };
  const { style } = document.documentElement;
  if (context.theme === "light" || context.theme === "dark") style.colorScheme = context.theme;
  for (const [name, value] of Object.entries(readObject(readObject(context.styles).variables)))
    if (/^--[a-z0-9-]+$/.test(name) && typeof value === "string") style.setProperty(name, value);
}

/**
 * @param {Data} message
 * @param {Record<string, Told>} notifications
 */
function receive(message, notifications) {
  if (message.jsonrpc !== "2.0") return;
  if (typeof message.method !== "string") return settle(message);
  if (message.id !== undefined) return answer(message.id, message.method);
  if (Object.hasOwn(notifications, message.method)) notifications[message.method](readObject(message.params));
}

/**
 * Gives an answer of the host to the request that waits for it.
 * @param {Data} message
 */
function settle(message) {
  const waiter = waiters.get(message.id);
  if (!waiter) return;
  waiters.delete(message.id);
  clearTimeout(waiter.timer);
  if (message.error) waiter.reject(new Error("refused"));
  else waiter.resolve(readObject(message.result));
}

/**
 * Answers a request of the host.
 * @param {unknown} id
 * @param {string} method
 */
function answer(id, method) {
  if (method === "ui/resource-teardown") ended = true;
  const known = method === "ping" || method === "ui/resource-teardown";
  post({ id, ...(known ? { result: {} } : { error: { code: METHOD_NOT_FOUND, message: "Method not found" } }) });
}

function reportSize() {
  const width = Math.ceil(document.documentElement.getBoundingClientRect().width);
  const height = Math.ceil(document.body.getBoundingClientRect().height);
  notify("ui/notifications/size-changed", { width, height });
}

/**
 * @param {string} method
 * @param {Data} params
 */
function notify(method, params) {
  post({ method, params });
}

/** @param {Data} message */
function post(message) {
  window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
}
