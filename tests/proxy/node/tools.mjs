/** What the model may call. */
export const TOOLS = [
  { name: "weather", description: "The weather", parameters: parameters("city") },
  { name: "clock", description: "The time", parameters: parameters("zone") },
];

/** @param {string} name */
function parameters(name) {
  return { type: "object", properties: { [name]: { type: "string" } }, required: [name], additionalProperties: false };
}
