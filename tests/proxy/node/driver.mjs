// Asks the proxy through one of three clients: a JSON object a line on stdin says what, a line on stdout tells what came of it.
import readline from "node:readline";

import * as openai from "./openai.mjs";
import * as pi from "./pi.mjs";
import * as vercel from "./vercel.mjs";

/**
 * @typedef {object} Asked
 * @property {"openai" | "pi" | "vercel"} client
 * @property {string} base
 * @property {string} token
 * @property {string} text
 * @property {boolean} stream
 * @property {boolean} tools whether the two tools are offered
 * @property {number} retries how often the client may ask again
 * @property {number} at_once how many such calls are made at the same time
 * @property {boolean} leave whether to go away at the first piece of text
 */

/** Every request of the call under way, as the network saw it. @type {object[]} */
let attempts = [];
const send = globalThis.fetch;

/** The clients' way out: what was answered is noted before they see it. @type {typeof fetch} */
globalThis.fetch = async (address, options) => {
  const at = performance.now();
  const response = await send(address, options);
  const header = (/** @type {string} */ name) => response.headers.get(name);
  attempts.push({ at, status: response.status, retry_after: header("retry-after"), limit: header("x-openclaw-limit") });
  return response;
};

const CLIENTS = { openai, pi, vercel };

/** @param {Asked} asked */
async function answered(asked) {
  const leaving = new AbortController();
  const heard = () => asked.leave && leaving.abort();
  try {
    return await CLIENTS[asked.client].ask({ ...asked, signal: leaving.signal, heard });
  } catch (error) {
    return { error: { status: error.status ?? error.statusCode ?? null, code: error.code ?? null, message: error.message } };
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  attempts = [];
  const asked = JSON.parse(line);
  const answers = await Promise.all(Array.from({ length: asked.at_once }, () => answered(asked)));
  process.stdout.write(`${JSON.stringify({ answers, attempts })}\n`);
}
