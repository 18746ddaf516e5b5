import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, RetryError, streamText, tool } from "ai";

import { TOOLS } from "./tools.mjs";

const OFFERED = Object.fromEntries(
  TOOLS.map(({ name, description, parameters }) => [name, tool({ description, inputSchema: jsonSchema(parameters) })]),
);

/** Vercel's AI SDK with its provider for compatible servers. */
export async function ask({ base, token, text, stream, tools, retries, signal, heard }) {
  const cloud = createOpenAICompatible({ name: "cloud", baseURL: `${base}/v1`, apiKey: token, includeUsage: true });
  const given = { model: cloud("small"), prompt: text, maxRetries: retries, abortSignal: signal, ...(tools && { tools: OFFERED }) };
  try {
    const made = stream ? await streamed(given, heard) : await generateText(given);
    const calls = (await made.toolCalls).map((one) => ({ id: one.toolCallId, name: one.toolName, arguments: one.input }));
    const { inputTokens: input, outputTokens: output } = await made.usage;
    const finish = (await made.finishReason).replace("-", "_");
    return { text: await made.text, calls, finish, usage: { input, output } };
  } catch (error) {
    const cause = RetryError.isInstance(error) ? error.lastError : error;
    throw Object.assign(cause, { code: cause.data?.error?.code });
  }
}

async function streamed(given, heard) {
  let failed = null;
  const made = streamText({ ...given, onError: () => undefined });
  for await (const part of made.fullStream) {
    if (part.type === "text-delta") heard();
    if (part.type === "error") failed = part.error;
    if (part.type === "abort") failed = new Error("aborted");
  }
  if (failed) throw failed;
  return made;
}
