/**
 * The first process of a box: environment and profile become OpenClaw's files, then the gateway runs as its child.
 *
 * The cluster gives a box one secret, its agent token. With it the box fetches its profile (persona, users, tokens,
 * model, connections) and follows newer versions, each applied live by rewriting files that the gateway watches. The last profile
 * is kept on the volume, so a box starts while the platform is away.
 *
 * Exit codes: the gateway's own; 64 a variable is missing or malformed; 70 we failed; 77 the platform refuses the token
 * and no profile is kept; 128 + n ended by signal n before the gateway ran, or the gateway died of it.
 */

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const EXIT_USAGE = 64;
const EXIT_SOFTWARE = 70;
const EXIT_NO_PERMISSION = 77;

const REQUEST_MS = 10_000;
const LONG_POLL_SECONDS = 25;
const PROBE_MS = 250;
const RETRY_FIRST_MS = 1_000;
const RETRY_LAST_MS = 30_000;
/** A refused token stays refused until the platform changes its mind: ask seldom. */
const REFUSED_FIRST_MS = 60_000;
const REFUSED_LAST_MS = 300_000;

/** OpenClaw reads dates in prompts in this zone unless the person says otherwise. */
const TIMEZONES = { "pt-BR": "America/Sao_Paulo", en: "UTC" };
const NAME_LIMIT = 64;

/** What the gateway, and so every command that the agent runs, may see of our own environment. */
const INHERITED = [
  "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR",
  "NODE_COMPILE_CACHE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR",
];

/**
 * @typedef {object} Settings
 * @property {string} boxId
 * @property {string} cell
 * @property {string | null} release
 * @property {string} apiUrl
 * @property {string} proxyUrl
 * @property {string} telegramApiUrl
 * @property {string | null} browserUrl
 * @property {"full" | "off"} exec
 * @property {string} dataDir
 * @property {string} bootstrapDir
 * @property {number} port
 * @property {string} agentToken
 * @property {string} compileCache
 * @property {string} tmpDir
 *
 * @typedef {object} Profile
 * @property {number} version
 * @property {string} agent_name
 * @property {string} locale
 * @property {string} niche
 * @property {{bot_token: string, users: number[]} | null} telegram  null: no bot yet, or its token was taken away
 * @property {string} proxy_token
 * @property {string} model
 * @property {"off" | "low" | "medium" | "high"} thinking
 * @property {Connection[]} connections
 *
 * @typedef {object} Connection  a service that the customer has connected; its credential stays with the platform
 * @property {string} provider
 * @property {number} version  counts up with every change
 * @property {"mcp" | "native"} use  by tools at the platform's MCP address, or by commands
 * @property {"connected" | "needs_reconnect"} status
 * @property {string} how  what the agent should do about it, in the box's language
 *
 * @typedef {{kind: "profile", profile: Profile} | {kind: "none"} | {kind: "refused", status: number}
 *   | {kind: "away", reason: string}} Answer
 */

// ── Environment ──────────────────────────────────────────────────────────────────────────────────

/** A variable that is missing or malformed. Its value is never part of the message: it may be a secret. */
export class BadVariable extends Error {}

/** @typedef {(value: string) => string | number | undefined} Parse  undefined: malformed */

/** @type {(form: RegExp) => Parse} */
const matching = (form) => (value) => (form.test(value) ? value : undefined);
/** @type {(...schemes: string[]) => Parse} */
const url = (...schemes) => (value) =>
  URL.canParse(value) && schemes.includes(new URL(value).protocol.slice(0, -1)) ? value.replace(/\/+$/, "") : undefined;
/** @type {Parse} */
const directory = (value) => (path.isAbsolute(value) ? value : undefined);
/** @type {Parse} */
const portNumber = (value) => (/^[1-9]\d{0,4}$/.test(value) && Number(value) < 65_536 ? Number(value) : undefined);

/** @type {[variable: string, field: keyof Settings, parse: Parse, form: string][]} */
const VARIABLES = [
  ["OPENCLAW_BOX_ID", "boxId", matching(/^[a-z0-9]{26}$/), "26 characters of a-z and 0-9"],
  ["OPENCLAW_CELL", "cell", matching(/^[a-z][a-z0-9-]{0,30}$/), "a cell's name"],
  ["OPENCLAW_RELEASE", "release", matching(/^\d{4}\.\d{1,2}\.\d{1,4}$/), "a release of the chart"],
  ["OPENCLAW_API_URL", "apiUrl", url("http", "https"), "an http or https URL"],
  ["OPENCLAW_PROXY_URL", "proxyUrl", url("http", "https"), "an http or https URL"],
  ["OPENCLAW_TELEGRAM_API_URL", "telegramApiUrl", url("http", "https"), "an http or https URL"],
  ["OPENCLAW_BROWSER_PROXY_URL", "browserUrl", url("http", "https", "ws", "wss"), "an http, https, ws or wss URL"],
  ["OPENCLAW_EXEC", "exec", matching(/^(full|off)$/), "full or off"],
  ["OPENCLAW_DATA_DIR", "dataDir", directory, "an absolute path"],
  ["OPENCLAW_BOOTSTRAP_DIR", "bootstrapDir", directory, "an absolute path"],
  ["OPENCLAW_GATEWAY_PORT", "port", portNumber, "a port number"],
  ["OPENCLAW_AGENT_TOKEN", "agentToken", matching(/^[\x21-\x7e]{20,256}$/), "20 to 256 characters without spaces"],
  ["NODE_COMPILE_CACHE", "compileCache", directory, "an absolute path"],
  ["TMPDIR", "tmpDir", directory, "an absolute path"],
];
const OPTIONAL = new Set(["OPENCLAW_RELEASE", "OPENCLAW_BROWSER_PROXY_URL"]);

/**
 * The settings in `env`; throws BadVariable naming the first variable that is missing or malformed.
 * @param {NodeJS.ProcessEnv} env
 * @returns {Settings}
 */
export function readSettings(env) {
  const read = VARIABLES.map(([variable, field, parse, form]) => {
    const value = env[variable];
    if (!value && OPTIONAL.has(variable)) return [field, null];
    if (!value) throw new BadVariable(`${variable} is missing: ${form} is needed`);
    const parsed = parse(value);
    if (parsed === undefined) throw new BadVariable(`${variable} is malformed: ${form} is needed`);
    return [field, parsed];
  });
  return Object.fromEntries(read);
}

// ── Profile ──────────────────────────────────────────────────────────────────────────────────────

const isText = (/** @type {unknown} */ value) => typeof value === "string" && value !== "";
const isId = (/** @type {unknown} */ value) => Number.isSafeInteger(value) && Number(value) > 0;
const isSlug = (/** @type {unknown} */ value) => /^[a-z][a-z0-9-]{0,30}$/.test(String(value));
const isUserList = (/** @type {unknown} */ value) => Array.isArray(value) && value.every(isId);

/** @type {Record<keyof Profile, (value: any) => boolean>} */
const PROFILE_FIELDS = {
  version: isId,
  agent_name: isText,
  locale: (value) => /^[a-z]{2}(-[A-Z]{2})?$/.test(String(value)),
  niche: isSlug,
  telegram: (value) => value === null || (isText(value?.bot_token) && isUserList(value.users)),
  proxy_token: isText,
  model: isSlug,
  thinking: (value) => ["off", "low", "medium", "high"].includes(value),
  connections: (value) => Array.isArray(value) && value.every(isConnection),
};

/** @param {any} value */
function isConnection(value) {
  const { provider, version, use, status, how } = value ?? {};
  const isKnown = ["mcp", "native"].includes(use) && ["connected", "needs_reconnect"].includes(status);
  return isSlug(provider) && isId(version) && isText(how) && isKnown;
}

/**
 * The profile in `value`, fields that we do not know left out; throws TypeError naming a field that is not as agreed.
 * @param {any} value
 * @returns {Profile}
 */
export function checkedProfile(value) {
  const fields = Object.entries(PROFILE_FIELDS);
  const wrong = fields.find(([name, fits]) => !fits(value?.[name]));
  if (wrong) throw new TypeError(`profile field ${wrong[0]} is not as agreed`);
  return /** @type {Profile} */ (Object.fromEntries(fields.map(([name]) => [name, value[name]])));
}

/**
 * One request to the platform with the box's own token. Redirects are refused: they would take the token elsewhere.
 * @param {Settings} settings
 * @param {string} where
 * @param {{timeoutMs?: number, signal: AbortSignal, body?: object}} options
 */
function call(settings, where, { timeoutMs = REQUEST_MS, signal, body }) {
  return fetch(`${settings.apiUrl}/internal/agent/${where}`, {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer ${settings.agentToken}`, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
    redirect: "error",
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  });
}

/** What speaks against a response that should say no more than yes. @param {Response} response */
async function refusalIn(response) {
  await response.body?.cancel();
  return response.ok ? null : `HTTP ${response.status}`;
}

/**
 * The profile if there is one newer than `after`, waiting up to `wait` seconds for it.
 * @param {Settings} settings
 * @param {{after: number, wait: number, signal: AbortSignal}} options
 * @returns {Promise<Answer>}
 */
async function askForProfile(settings, { after, wait, signal }) {
  try {
    const timeoutMs = REQUEST_MS + wait * 1000;
    const response = await call(settings, `profile?after=${after}&wait=${wait}`, { timeoutMs, signal });
    if (response.status === 200) return { kind: "profile", profile: checkedProfile(await response.json()) };
    await response.body?.cancel();
    if (response.status === 204) return { kind: "none" };
    if (response.status === 401 || response.status === 403) return { kind: "refused", status: response.status };
    return { kind: "away", reason: `HTTP ${response.status}` };
  } catch (error) {
    return { kind: "away", reason: reasonOf(error) };
  }
}

/**
 * Why something failed. A parser's message is left out: it quotes what it read.
 * @param {any} error
 * @returns {string}
 */
function reasonOf(error) {
  if (error instanceof SyntaxError) return "not JSON";
  return String(error?.cause?.code ?? error?.code ?? error?.message ?? error).slice(0, 200);
}

/** Waits that double from `first` to `last` milliseconds, each shortened by up to a quarter so that boxes spread. */
class Backoff {
  /** @param {number} first @param {number} last */
  constructor(first, last) {
    this.first = first;
    this.last = last;
    this.next = first;
  }

  reset() {
    this.next = this.first;
  }

  /** Wait; returns at once when `signal` fires. @param {AbortSignal} signal */
  async wait(signal) {
    const ms = this.next * (0.75 + Math.random() / 4);
    this.next = Math.min(this.next * 2, this.last);
    await pause(ms, undefined, { signal }).catch(() => undefined);
  }
}

// ── Files ────────────────────────────────────────────────────────────────────────────────────────

/**
 * Where the box keeps what.
 * @param {Settings} settings
 */
function placesOf({ dataDir, tmpDir }) {
  return {
    home: path.join(dataDir, "home"),
    state: path.join(dataDir, "state"),
    config: path.join(dataDir, "state", "openclaw.json"),
    workspace: path.join(dataDir, "workspace"),
    profile: path.join(dataDir, "platform", "profile.json"),
    mcporter: path.join(dataDir, "home", ".mcporter", "mcporter.json"),
    log: path.join(tmpDir, "gateway.log"),
  };
}

/**
 * `file` holds `text` and is ours alone to read; whoever watches it sees one rename, and none if nothing changed.
 * @param {string} file
 * @param {string} text
 * @returns {boolean} whether it changed
 */
export function writeIfChanged(file, text) {
  if (fs.existsSync(file) && fs.readFileSync(file, "utf8") === text) return false;
  const partial = `${file}.partial`;
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  fs.rmSync(partial, { force: true });
  fs.writeFileSync(partial, text, { mode: 0o600, flag: "wx", flush: true });
  fs.renameSync(partial, file);
  return true;
}

/**
 * The profile kept at the last start or change, if any and if whole.
 * @param {Settings} settings
 * @returns {Profile | null}
 */
function keptProfile(settings) {
  const file = placesOf(settings).profile;
  if (!fs.existsSync(file)) return null;
  try {
    return checkedProfile(JSON.parse(fs.readFileSync(file, "utf8")));
  } catch (error) {
    say("box.kept_profile_ignored", { reason: reasonOf(error) });
    return null;
  }
}

/**
 * The workspace's files that OpenClaw puts into every prompt. MEMORY.md and USER.md are the agent's own, BOOTSTRAP.md
 * would make it ask who it is, and OpenClaw no longer reads TOOLS.md: its text goes into AGENTS.md.
 * @param {Settings} settings
 * @param {Profile} profile
 * @returns {Record<string, string>} text by file name
 */
export function workspaceFiles(settings, profile) {
  const line = profile.agent_name.replace(/[\p{Cc}\p{Cf}\s]+/gu, " ").trim();
  const name = [...line].slice(0, NAME_LIMIT).join("");
  const read = (/** @type {string} */ file) =>
    fs.readFileSync(path.join(settings.bootstrapDir, file), "utf8").replaceAll("{{agent_name}}", () => name);
  const niche = `${profile.niche}.${profile.locale}`;
  const tools = [read(`${niche}.TOOLS.md`).replace(/^# .*\n+/, ""), connectionsText(settings, profile, read)];
  const agents = `# ${name}\n\n## Tools\n\n${tools.filter(Boolean).join("\n")}`;
  return { "SOUL.md": read(`${niche}.SOUL.md`), "IDENTITY.md": read(`${niche}.IDENTITY.md`), "AGENTS.md": agents };
}

/**
 * How the agent learns what is connected: it looks for itself if it can run commands, else it is told.
 * @param {Settings} settings
 * @param {Profile} profile
 * @param {(file: string) => string} read
 */
function connectionsText({ exec }, { connections, locale }, read) {
  const text = read(`connections.${locale}.md`);
  if (exec === "full") return text;
  const told = connections.map(({ provider, how }) => `- ${provider}: ${how}\n`).join("");
  return told && `${text.split("\n", 1)[0]}\n\n${told}`;
}

/**
 * The MCP servers of what is connected: the one model of OpenClaw's list and mcporter's.
 * @param {Settings} settings
 * @param {Profile} profile
 * @returns {{name: string, url: string}[]}
 */
function mcpServers({ apiUrl }, { connections }) {
  return connections
    .filter(({ use, status }) => use === "mcp" && status === "connected")
    .map(({ provider }) => ({ name: provider, url: `${apiUrl}/mcp/${provider}` }));
}

/**
 * mcporter's configuration, for commands that call tools; without `imports: []` it would look for editors' files.
 * @param {Settings} settings
 * @param {Profile} profile
 */
export function mcporterConfig(settings, profile) {
  const headers = { Authorization: "Bearer ${OPENCLAW_AGENT_TOKEN}" };
  const entries = mcpServers(settings, profile).map(({ name, url }) => [name, { baseUrl: url, headers }]);
  return { mcpServers: Object.fromEntries(entries), imports: [] };
}

/**
 * OpenClaw's configuration. Secrets stand in it as they are (the file is 0600): the gateway's environment is what a
 * command run by the agent sees.
 * @param {Settings} settings
 * @param {Profile} profile
 */
export function openclawConfig(settings, profile) {
  const places = placesOf(settings);
  return {
    gateway: {
      mode: "local",
      port: settings.port,
      bind: "lan",
      auth: { mode: "token", token: "${OPENCLAW_GATEWAY_TOKEN}" },
      controlUi: { enabled: false },
      reload: { mode: "hybrid" },
    },
    telemetry: { enabled: false },
    update: { checkOnStart: false, auto: { enabled: false } },
    discovery: { mdns: { mode: "off" } },
    logging: { file: places.log, maxFileBytes: 16 * 1024 * 1024 },
    models: { mode: "replace", catalogRefresh: { enabled: false }, providers: { cloud: provider(settings, profile) } },
    agents: {
      defaults: {
        workspace: places.workspace,
        model: { primary: `cloud/${profile.model}` },
        thinkingDefault: profile.thinking,
        skipBootstrap: true,
        heartbeat: { every: "0m" },
        userTimezone: TIMEZONES[/** @type {keyof typeof TIMEZONES} */ (profile.locale)] ?? "UTC",
      },
    },
    session: { dmScope: "per-channel-peer" },
    tools: tools(settings),
    memory: { search: { enabled: false } },
    // A nightly run over the memory files, on by default: it would spend the customer's tokens unasked.
    plugins: { entries: { "memory-core": { config: { dreaming: { enabled: false } } } } },
    channels: channels(settings, profile),
    browser: browser(settings, profile),
    mcp: { servers: Object.fromEntries(mcpServers(settings, profile).map((server) => mcpServer(settings, server))) },
  };
}

/** @param {Settings} settings @param {{name: string, url: string}} server @returns {[string, object]} */
function mcpServer({ agentToken }, { name, url }) {
  const headers = { Authorization: `Bearer ${agentToken}` };
  // Its tools are listed before the first answer of a session: a platform that is slow must not hold that up.
  const timeouts = { connectionTimeoutMs: 10_000, requestTimeoutMs: 60_000 };
  return [name, { url, transport: "streamable-http", headers, ...timeouts }];
}

/** @param {Settings} settings @param {Profile} profile */
function provider(settings, profile) {
  return {
    baseUrl: `${settings.proxyUrl}/v1`,
    apiKey: profile.proxy_token,
    api: "openai-completions",
    // Without it a stalled stream keeps a customer waiting for five minutes.
    timeoutSeconds: 60,
    models: [
      {
        id: profile.model,
        name: "Cloud model",
        reasoning: true,
        input: ["text", "image"],
        contextWindow: 200_000,
        maxTokens: 16_384,
        cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
        // Without it the thinking level never leaves the gateway.
        compat: { supportsReasoningEffort: true, supportsDeveloperRole: true },
      },
    ],
  };
}

/** @param {Settings} settings */
function tools({ exec }) {
  // The configuration is ours: what the agent would change in it, the next profile would undo.
  if (exec === "full") return { deny: ["gateway"], exec: { host: "gateway", mode: "full" } };
  return { deny: ["gateway", "group:runtime"], exec: { host: "gateway", mode: "deny" }, fs: { workspaceOnly: true } };
}

/** @param {Settings} settings @param {Profile} profile */
function channels({ telegramApiUrl }, { telegram }) {
  if (telegram === null) return {};
  return {
    telegram: {
      enabled: true,
      botToken: telegram.bot_token,
      dmPolicy: "allowlist",
      allowFrom: telegram.users,
      groupPolicy: "disabled",
      configWrites: false,
      apiRoot: telegramApiUrl,
    },
  };
}

/** @param {Settings} settings @param {Profile} profile */
function browser({ browserUrl }, { proxy_token }) {
  if (browserUrl === null) return { enabled: false };
  const cdp = new URL(browserUrl);
  cdp.searchParams.set("token", proxy_token);
  return {
    enabled: true,
    defaultProfile: "cloud",
    profiles: { cloud: { cdpUrl: cdp.href, attachOnly: true } },
    // The proxy has a private address in the cluster; pages on private addresses stay out of reach.
    ssrfPolicy: { allowedHostnames: [cdp.hostname] },
  };
}

/**
 * The files say what `profile` says, the kept profile last: it stands for all of them.
 * @param {Settings} settings
 * @param {Profile} profile
 * @returns {string[]} the names of the files that changed
 */
export function apply(settings, profile) {
  const places = placesOf(settings);
  const texts = Object.entries(workspaceFiles(settings, profile));
  const files = [
    ...texts.map(([name, text]) => [path.join(places.workspace, name), text]),
    [places.mcporter, `${JSON.stringify(mcporterConfig(settings, profile), null, 2)}\n`],
    [places.config, `${JSON.stringify(openclawConfig(settings, profile), null, 2)}\n`],
    [places.profile, `${JSON.stringify(profile)}\n`],
  ];
  return files.filter(([file, text]) => writeIfChanged(file, text)).map(([file]) => path.basename(file));
}

// ── The gateway ──────────────────────────────────────────────────────────────────────────────────

const PACKAGE_DIR = fileURLToPath(new URL("./node_modules/openclaw/", import.meta.url));
/** Where the image's own commands are: node and mcporter, and what we add to them. */
const COMMAND_DIRS = ["./bin", "./commands"].map((folder) => fileURLToPath(new URL(folder, import.meta.url)));

/** The installed gateway's version. @returns {string} */
function gatewayVersion() {
  return JSON.parse(fs.readFileSync(path.join(PACKAGE_DIR, "package.json"), "utf8")).version;
}

/**
 * What commands need to ask the platform for themselves; a box that runs none has no use for it.
 * @param {Settings} settings
 * @returns {Record<string, string>}
 */
function commandEnvironment({ exec, apiUrl, agentToken }) {
  return exec === "full" ? { OPENCLAW_API_URL: apiUrl, OPENCLAW_AGENT_TOKEN: agentToken } : {};
}

/**
 * The gateway's whole environment: the system's part of ours by an allow-list, its places, nothing phoned home.
 * @param {Settings} settings
 * @param {NodeJS.ProcessEnv} env
 * @returns {Record<string, string>}
 */
export function gatewayEnvironment(settings, env) {
  const places = placesOf(settings);
  const inherited = INHERITED.filter((name) => env[name]).map((name) => [name, String(env[name])]);
  return {
    ...Object.fromEntries(inherited),
    ...commandEnvironment(settings),
    PATH: [...COMMAND_DIRS, env.PATH].filter(Boolean).join(path.delimiter),
    HOME: places.home,
    OPENCLAW_HOME: places.home,
    OPENCLAW_STATE_DIR: places.state,
    OPENCLAW_CONFIG_PATH: places.config,
    OPENCLAW_GATEWAY_TOKEN: randomBytes(32).toString("base64url"),
    OPENCLAW_NO_AUTO_UPDATE: "1",
    OPENCLAW_DISABLE_BONJOUR: "1",
    DO_NOT_TRACK: "1",
    NODE_ENV: "production",
    // The launcher would start itself again below a directory of its own: a second process and 58 MB for nothing.
    OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED: "1",
  };
}

/** One JSON object a line, like every process of ours. @param {string} event @param {object} facts */
function say(event, facts = {}) {
  process.stderr.write(`${JSON.stringify({ event, ...facts, timestamp: new Date().toISOString() })}\n`);
}

/** Why there is no profile. @param {Exclude<Answer, {kind: "profile"}>} answer @param {object} facts */
function complain(answer, facts = {}) {
  const { kind, ...why } = answer;
  say(kind === "refused" ? "box.token_refused" : "box.profile_not_fetched", { ...why, ...facts });
}

/** A box from its start to the end of its gateway. */
class Box {
  /** @param {Settings} settings */
  constructor(settings) {
    this.settings = settings;
    this.stopping = new AbortController();
    /** @type {import("node:child_process").ChildProcess | null} */
    this.gateway = null;
    this.applied = 0;
    this.changed = Promise.withResolvers();
  }

  /** From the first request to the gateway's end. */
  async run() {
    process.umask(0o077);
    this.listen();
    this.apply(await this.firstProfile());
    this.start();
    await Promise.all([this.follow(), this.report()]);
  }

  /** Signals go to the gateway, which drains and exits; before it runs they end us. */
  listen() {
    for (const name of /** @type {const} */ (["SIGTERM", "SIGINT"])) {
      process.on(name, () => {
        this.stopping.abort();
        if (this.gateway === null) process.exit(128 + os.constants.signals[name]);
        this.gateway.kill(name);
      });
    }
  }

  /**
   * The profile to start with: the platform's, else the kept one, else wait for the platform.
   * @returns {Promise<Profile>}
   */
  async firstProfile() {
    const kept = keptProfile(this.settings);
    const backoff = new Backoff(RETRY_FIRST_MS, RETRY_LAST_MS);
    const { signal } = this.stopping;
    for (;;) {
      const answer = await askForProfile(this.settings, { after: 0, wait: kept ? 0 : LONG_POLL_SECONDS, signal });
      if (answer.kind === "profile") return answer.profile;
      complain(answer, { kept: kept?.version ?? null });
      if (kept) return kept;
      if (answer.kind === "refused") refuse(answer.status);
      await backoff.wait(signal);
    }
  }

  /** The files are as `profile` says; readiness will be reported again. @param {Profile} profile */
  apply(profile) {
    const files = apply(this.settings, profile);
    this.applied = profile.version;
    this.changed.resolve(undefined);
    say("box.profile_applied", { version: profile.version, files });
  }

  /** Run the gateway; when it ends, so do we, with its code. */
  start() {
    const launcher = path.join(PACKAGE_DIR, "openclaw.mjs");
    const { home, workspace } = placesOf(this.settings);
    fs.mkdirSync(home, { recursive: true, mode: 0o700 });
    this.gateway = spawn(process.execPath, [launcher, "gateway", "run"], {
      cwd: workspace,
      env: gatewayEnvironment(this.settings, process.env),
      stdio: ["ignore", "inherit", "inherit"],
    });
    this.gateway.on("error", (error) => this.fail(error));
    this.gateway.on("exit", (code, signal) => process.exit(code ?? 128 + os.constants.signals[signal ?? "SIGKILL"]));
  }

  /** Apply every newer profile for as long as the gateway runs. */
  async follow() {
    const { signal } = this.stopping;
    const away = new Backoff(RETRY_FIRST_MS, RETRY_LAST_MS);
    const refused = new Backoff(REFUSED_FIRST_MS, REFUSED_LAST_MS);
    while (!signal.aborted) {
      const asked = performance.now();
      const answer = await askForProfile(this.settings, { after: this.applied, wait: LONG_POLL_SECONDS, signal });
      if (signal.aborted) return;
      const wasHeld = performance.now() - asked > RETRY_FIRST_MS;
      const isDone = answer.kind === "profile" ? this.tryToApply(answer.profile) : answer.kind === "none" && wasHeld;
      if (isDone) away.reset();
      if (answer.kind !== "refused") refused.reset();
      if (answer.kind === "refused" || answer.kind === "away") complain(answer);
      if (!isDone) await (answer.kind === "refused" ? refused : away).wait(signal);
    }
  }

  /**
   * Whether `profile` is news and now in the files; a full volume must not end a running gateway.
   * @param {Profile} profile
   */
  tryToApply(profile) {
    if (profile.version === this.applied) return false;
    try {
      this.apply(profile);
      return true;
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
      say("box.profile_not_applied", { version: profile.version, reason: reasonOf(error) });
      return false;
    }
  }

  /** Tell the platform which profile a ready gateway of which release runs: once it is up, and after each change. */
  async report() {
    const { signal } = this.stopping;
    const versions = { gateway: gatewayVersion(), ...(this.settings.release && { release: this.settings.release }) };
    while (!signal.aborted) {
      this.changed = Promise.withResolvers();
      await this.untilReady();
      const profile = this.applied;
      await this.tell({ profile, ...versions });
      if (profile === this.applied) await this.changed.promise;
    }
  }

  async untilReady() {
    const { signal } = this.stopping;
    const probe = `http://127.0.0.1:${this.settings.port}/startupz`;
    while (!signal.aborted) {
      const response = await fetch(probe, { signal: AbortSignal.timeout(REQUEST_MS) }).catch(() => null);
      await response?.body?.cancel();
      if (response?.status === 200) return;
      await pause(PROBE_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /**
   * End: something is wrong with ourselves, and a gateway that nobody looks after is worse than none.
   * @param {unknown} error
   * @returns {never}
   */
  fail(error) {
    say("box.failed", { reason: error instanceof Error ? String(error.stack).slice(0, 2000) : String(error) });
    this.gateway?.kill("SIGKILL");
    process.exit(EXIT_SOFTWARE);
  }

  /** Post until the platform has it. @param {{profile: number, gateway: string, release?: string}} body */
  async tell(body) {
    const { signal } = this.stopping;
    const backoff = new Backoff(RETRY_FIRST_MS, RETRY_LAST_MS);
    while (!signal.aborted) {
      const refusal = await call(this.settings, "ready", { signal, body }).then(refusalIn, reasonOf);
      if (refusal === null) return say("box.ready_reported", body);
      say("box.ready_not_reported", { ...body, reason: refusal });
      await backoff.wait(signal);
    }
  }
}

/** @param {number} status @returns {never} */
function refuse(status) {
  const why = "the platform refuses OPENCLAW_AGENT_TOKEN and no profile is kept: not starting";
  process.stderr.write(`entrypoint: ${why} (HTTP ${status})\n`);
  process.exit(EXIT_NO_PERMISSION);
}

/** @returns {Settings} */
function settingsOrExit() {
  try {
    return readSettings(process.env);
  } catch (error) {
    if (!(error instanceof BadVariable)) throw error;
    process.stderr.write(`entrypoint: ${error.message}\n`);
    process.exit(EXIT_USAGE);
  }
}

if (import.meta.main) {
  const box = new Box(settingsOrExit());
  await box.run().catch((error) => box.fail(error));
}
