/**
 * Fills NODE_COMPILE_CACHE for an image: boots the gateway once through the image's own entrypoint and has it answer
 * one message, so that what a start and a first reply load is compiled. Run it as the user that will run the image (Node
 * keeps a cache per user) and with the modules where they will be (it goes by path). All traffic stays on loopback.
 *
 *   NODE_COMPILE_CACHE=<dir> TMPDIR=<dir> node warm.mjs <image dir>
 *
 * Exit code 0 when the gateway reported ready, answered and ended by itself; 1 otherwise.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const DEADLINE_MS = 300_000;
const STOP_MS = 60_000;
const POLL_MS = 1_000;
const USER = 7001;
const BOOTSTRAP = ["general.en.SOUL.md", "general.en.IDENTITY.md", "general.en.TOOLS.md", "connections.en.md"];
const BOT_TOKEN = `100000001:${"w".repeat(35)}`;

const PROFILE = {
  version: 1,
  agent_name: "Warm",
  locale: "en",
  niche: "general",
  telegram: { bot_token: BOT_TOKEN, users: [USER] },
  proxy_token: "oc_proxy_warm",
  model: "default",
  thinking: "low",
  connections: [],
};

const BOT = { id: 100000001, is_bot: true, first_name: "Warm", username: "warm_bot", can_join_groups: false };
const CHAT = { id: USER, type: "private", first_name: "Warm" };
const UPDATE = {
  update_id: 1,
  message: { message_id: 1, date: 1_790_000_000, chat: CHAT, from: { ...CHAT, is_bot: false }, text: "hello" },
};
const CHUNK = { id: "warm", object: "chat.completion.chunk", created: 1_790_000_000, model: "default" };
const REPLY = [
  { ...CHUNK, choices: [{ index: 0, delta: { role: "assistant", content: "hello" }, finish_reason: null }] },
  { ...CHUNK, choices: [{ index: 0, delta: {}, finish_reason: "stop" }] },
  { ...CHUNK, choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } },
];

/** The outside world of one box: platform API, model and Telegram on one loopback port. */
class World {
  constructor() {
    this.ready = Promise.withResolvers();
    this.answered = Promise.withResolvers();
    this.server = http.createServer((request, response) => {
      request.resume().on("end", () => this.answer(new URL(String(request.url), "http://world"), response));
    });
  }

  /** @returns {Promise<string>} its address, once it listens */
  async listen() {
    await once(this.server.listen(0, "127.0.0.1"), "listening");
    return `http://127.0.0.1:${/** @type {net.AddressInfo} */ (this.server.address()).port}`;
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
  }

  /** @param {URL} url @param {http.ServerResponse} response */
  answer(url, response) {
    const bot = /^\/bot[^/]+\/(\w+)$/.exec(url.pathname);
    if (bot) return this.telegram(bot[1], response);
    if (url.pathname === "/v1/chat/completions") return stream(response);
    const isPoll = url.pathname === "/internal/agent/profile";
    if (isPoll && url.searchParams.get("after") === "0") return json(response, PROFILE);
    if (url.pathname === "/internal/agent/ready") this.ready.resolve(undefined);
    setTimeout(() => response.writeHead(204).end(), isPoll ? POLL_MS : 0);
  }

  /** @param {string} method @param {http.ServerResponse} response */
  telegram(method, response) {
    if (method === "getUpdates") {
      const result = this.delivered ? [] : [UPDATE];
      this.delivered = true;
      return setTimeout(() => json(response, { ok: true, result }), result.length ? 0 : POLL_MS);
    }
    if (method === "sendMessage") this.answered.resolve(undefined);
    const message = { message_id: 2, date: 1_790_000_000, chat: CHAT, from: BOT, text: "hello" };
    const result = { getMe: BOT, sendMessage: message, editMessageText: message }[method] ?? true;
    return json(response, { ok: true, result });
  }
}

/** @param {http.ServerResponse} response @param {object} body */
function json(response, body) {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** @param {http.ServerResponse} response */
function stream(response) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end([...REPLY.map((chunk) => JSON.stringify(chunk)), "[DONE]"].map((data) => `data: ${data}\n\n`).join(""));
}

/** @returns {Promise<string>} a port that was free a moment ago */
async function freePort() {
  const probe = net.createServer();
  await once(probe.listen(0, "127.0.0.1"), "listening");
  const { port } = /** @type {net.AddressInfo} */ (probe.address());
  await once(probe.close(), "close");
  return String(port);
}

/** @param {string} scratch @param {string} address @returns {Promise<NodeJS.ProcessEnv>} */
async function environment(scratch, address) {
  const bootstrap = path.join(scratch, "bootstrap");
  fs.mkdirSync(bootstrap);
  for (const name of BOOTSTRAP) fs.writeFileSync(path.join(bootstrap, name), "# Warm\n");
  return {
    PATH: process.env.PATH,
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
    TMPDIR: scratch,
    OPENCLAW_BOX_ID: "0".repeat(26),
    OPENCLAW_CELL: "warm",
    OPENCLAW_API_URL: address,
    OPENCLAW_PROXY_URL: address,
    OPENCLAW_TELEGRAM_API_URL: address,
    OPENCLAW_BROWSER_PROXY_URL: address,
    OPENCLAW_EXEC: "full",
    OPENCLAW_DATA_DIR: path.join(scratch, "data"),
    OPENCLAW_BOOTSTRAP_DIR: bootstrap,
    OPENCLAW_GATEWAY_PORT: await freePort(),
    OPENCLAW_AGENT_TOKEN: "oc_agent_warm_warm_warm",
  };
}

/** Whether `child` ended by itself after SIGTERM. @param {import("node:child_process").ChildProcess} child */
async function stop(child) {
  const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  const ended = child.exitCode === null ? once(child, "exit") : [child.exitCode];
  child.kill("SIGTERM");
  const [code] = await ended;
  clearTimeout(late);
  return code === 0;
}

/** @param {string} image @param {string} scratch @returns {Promise<boolean>} */
async function warm(image, scratch) {
  const world = new World();
  const env = await environment(scratch, await world.listen());
  const child = spawn(process.execPath, [path.join(image, "entrypoint.mjs")], { env, stdio: "inherit" });
  const late = new Promise((resolve) => setTimeout(resolve, DEADLINE_MS, "late").unref());
  const done = Promise.all([world.ready.promise, world.answered.promise]).then(() => "done");
  const outcome = await Promise.race([done, late, once(child, "exit")]);
  const ended = await stop(child);
  world.close();
  return outcome === "done" && ended;
}

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "warm-"));
const isWarm = await warm(path.resolve(process.argv[2] ?? "."), scratch);
fs.rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
process.exitCode = isWarm ? 0 : 1;
