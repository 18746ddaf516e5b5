import OpenAI from "openai";

import { TOOLS } from "./tools.mjs";

const OFFERED = TOOLS.map((one) => ({ type: "function", function: one }));

/** OpenAI's own client. */
export async function ask({ base, token, text, stream, tools, retries, signal, heard }) {
  const client = new OpenAI({ apiKey: token, baseURL: `${base}/v1`, maxRetries: retries });
  const body = { model: "small", messages: [{ role: "user", content: text }], ...(tools && { tools: OFFERED }) };
  const made = stream ? await streamed(client, body, signal, heard) : await client.chat.completions.create(body, { signal });
  const [choice] = made.choices;
  const { prompt_tokens: input, completion_tokens: output } = made.usage;
  const calls = (choice.message.tool_calls ?? []).map((one) => ({ id: one.id, name: one.function.name, arguments: JSON.parse(one.function.arguments) }));
  return { text: choice.message.content ?? "", calls, finish: choice.finish_reason, usage: { input, output } };
}

async function streamed(client, body, signal, heard) {
  const runner = client.chat.completions.stream({ ...body, stream_options: { include_usage: true } }, { signal });
  runner.on("content", heard);
  return await runner.finalChatCompletion();
}
