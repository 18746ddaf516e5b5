// An OpenAI-compatible proxy on pi-ai: a chat is turned into pi's form, and pi's events into chunks.
// node pi.mjs PORT UPSTREAM
import { createServer } from "node:http";
import { complete, stream } from "@mariozechner/pi-ai";

const [port, upstream] = process.argv.slice(2);
const model = {
  id: "small", name: "small", api: "openai-completions", provider: "openai", baseUrl: upstream, reasoning: false,
  input: ["text"], cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 }, contextWindow: 200000, maxTokens: 16384,
};
const nothing = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: 0,
  cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 } };

function text(content) {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? "").join("");
}

function assistant(message) {
  const said = text(message.content);
  const calls = (message.tool_calls ?? []).map((call) => ({
    type: "toolCall", id: call.id, name: call.function.name, arguments: JSON.parse(call.function.arguments || "{}"),
  }));
  return { role: "assistant", content: [...(said ? [{ type: "text", text: said }] : []), ...calls], api: model.api,
    provider: model.provider, model: model.id, usage: nothing, stopReason: calls.length ? "toolUse" : "stop", timestamp: 0 };
}

function context(body) {
  const asked = { messages: [] };
  const names = new Map();
  for (const message of body.messages) {
    if (message.role === "system" || message.role === "developer") asked.systemPrompt = text(message.content);
    else if (message.role === "user") asked.messages.push({ role: "user", content: text(message.content), timestamp: 0 });
    else if (message.role === "assistant") {
      for (const call of message.tool_calls ?? []) names.set(call.id, call.function.name);
      asked.messages.push(assistant(message));
    } else asked.messages.push({ role: "toolResult", toolCallId: message.tool_call_id, toolName: names.get(message.tool_call_id),
      content: [{ type: "text", text: text(message.content) }], isError: false, timestamp: 0 });
  }
  if (body.tools) asked.tools = body.tools.map((tool) => tool.function);
  return asked;
}

const reasons = { stop: "stop", length: "length", toolUse: "tool_calls" };
const usage = (used) => ({ prompt_tokens: used.input, completion_tokens: used.output, total_tokens: used.totalTokens });

async function whole(body, options, response) {
  const said = await complete(model, context(body), options);
  if (said.errorMessage) throw new Error(said.errorMessage);
  const content = said.content.filter((part) => part.type === "text").map((part) => part.text).join("");
  const choice = { index: 0, message: { role: "assistant", content }, finish_reason: reasons[said.stopReason] };
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify({ id: "pi", object: "chat.completion", created: 1, model: body.model, choices: [choice],
    usage: usage(said.usage) }));
}

async function streamed(body, options, response) {
  const head = { id: "pi", object: "chat.completion.chunk", created: 1, model: body.model };
  const write = (more) => response.write(`data: ${JSON.stringify({ ...head, ...more })}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  for await (const event of stream(model, context(body), options)) {
    if (event.type === "text_delta") write({ choices: [{ index: 0, delta: { content: event.delta }, finish_reason: null }] });
    if (event.type === "done") {
      write({ choices: [{ index: 0, delta: {}, finish_reason: reasons[event.reason] }] });
      write({ choices: [], usage: usage(event.message.usage) });
    }
  }
  response.end("data: [DONE]\n\n");
}

createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  try {
    const body = JSON.parse(Buffer.concat(parts).toString());
    const options = { apiKey: "sk-mock", maxTokens: body.max_completion_tokens, maxRetries: 0 };
    await (body.stream ? streamed : whole)(body, options, response);
  } catch (error) {
    if (!response.headersSent) response.writeHead(502, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: { message: String(error) } }));
  }
}).listen(Number(port), "127.0.0.1", 4096);
