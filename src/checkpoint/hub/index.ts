/** @file Models from the Hugging Face Hub, or any server that speaks as it does. */

export { isAddress, parseHubName, type HubAddress } from "./address.js";
export { parseRepo } from "./files.js";
export { hubHint } from "./hint.js";
export { pullModel, type PulledModel, type PullOptions, type PullProgress } from "./pull.js";
