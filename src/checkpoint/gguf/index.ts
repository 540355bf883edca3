export { Gguf } from "./gguf.js";
export { gguf, GgufMetadata, GgufStrings, type GgufArray, type GgufNumberArray, type GgufType, type GgufValue } from "./metadata.js";
export { writeGguf, type GgufTensorToStore, type GgufToWrite } from "./write.js";
export { parseMix, saveGguf, type SaveGgufOptions, type SavedGguf } from "./save.js";
export { ggufMixes, type GgufMix } from "./mix.js";
