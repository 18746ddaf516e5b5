// Prints what the entrypoint makes of many boxes: stdin is [{env, profile}], stdout [{openclaw, mcporter}].
//   node printed.mjs <entrypoint.mjs>
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const { mcporterConfig, openclawConfig, readSettings } = await import(pathToFileURL(process.argv[2]));
const made = JSON.parse(fs.readFileSync(0, "utf8")).map(({ env, profile }) => {
  const settings = readSettings(env);
  return { openclaw: openclawConfig(settings, profile), mcporter: mcporterConfig(settings, profile) };
});
process.stdout.write(JSON.stringify(made));
