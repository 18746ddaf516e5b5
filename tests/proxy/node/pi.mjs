import { complete, stream as start } from "@mariozechner/pi-ai";

import { TOOLS } from "./tools.mjs";

const FINISH = { stop: "stop", toolUse: "tool_calls" };

/** pi-ai, which always streams: `complete` only collects. */
export async function ask({ base, token, text, stream, tools, retries, signal, heard }) {
  const model = {
    id: "small", name: "Small", api: "openai-completions", provider: "cloud", baseUrl: `${base}/v1`, reasoning: false,
    input: ["text"], cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 }, contextWindow: 200_000, maxTokens: 4_096,
  };
  const context = { messages: [{ role: "user", content: text, timestamp: 0 }], ...(tools && { tools: TOOLS }) };
  const options = { apiKey: token, signal, maxRetries: retries };
  const made = stream ? await streamed(model, context, options, heard) : await complete(model, context, options);
  if (made.errorMessage) throw new Error(made.errorMessage);
  const said = made.content.filter((one) => one.type === "text").map((one) => one.text);
  const calls = made.content.filter((one) => one.type === "toolCall").map((one) => ({ id: one.id, name: one.name, arguments: one.arguments }));
  const { input, output } = made.usage;
  return { text: said.join(""), calls, finish: FINISH[made.stopReason], usage: { input, output } };
}

async function streamed(model, context, options, heard) {
  const events = start(model, context, options);
  for await (const event of events) if (event.type === "text_delta") heard();
  return await events.result();
}
