// Validates many configuration files in one process with OpenClaw's own reader, the one behind `openclaw config validate`:
//   node snapshots.mjs <OpenClaw's package folder> <file>…     prints {"<file>": {valid, issues, warnings}}
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const sdk = await import(`${pathToFileURL(folder)}/dist/plugin-sdk/config-runtime.js`);
const found = {};
for (const file of files) {
  process.env.OPENCLAW_CONFIG_PATH = file;
  const { valid, issues, warnings } = (await sdk.readConfigFileSnapshotForWrite()).snapshot;
  found[file] = { valid, issues, warnings };
}
process.stdout.write(JSON.stringify(found));
process.exit();
