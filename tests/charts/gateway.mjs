// Stands where the gateway's package is, for tests of the entrypoint alone: it answers the probes, keeps its environment
// beside its state, greets the first user through the configured Bot API, and ends with 0 on SIGTERM, 9 on SIGINT, 3 when
// it is told to crash.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const { OPENCLAW_CONFIG_PATH: file, OPENCLAW_STATE_DIR: state } = process.env;
const config = JSON.parse(fs.readFileSync(file, "utf8"));
const started = { pid: process.pid, argv: process.argv.slice(2), cwd: process.cwd(), env: process.env };
fs.writeFileSync(path.join(state, "started.json"), JSON.stringify(started));

http
  .createServer((request, response) => {
    if (request.url === "/crash") process.exit(3);
    response.writeHead(request.url === "/startupz" ? 200 : 404).end();
  })
  .listen(config.gateway.port, "0.0.0.0");

process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(9));

const { telegram } = config.channels;
if (telegram) {
  const body = JSON.stringify({ chat_id: telegram.allowFrom[0], text: "here I am" });
  await fetch(`${telegram.apiRoot}/bot${telegram.botToken}/sendMessage`, { method: "POST", body });
}
