/**
 * @file The language model, top to bottom: token ids become vectors, blocks refine them, and the last norm and the unembedding turn each into
 * a score for every possible next token.
 *
 *   ids -> embed (+ positions) -> blocks -> norm -> unembed -> logits -> loss
 */

import { ConfigError, ShapeError } from "../errors.js";
import { QuantizedTensor, Tensor, dropout, embedding, keep, meanLoss, recompute, scope, type Device, type FloatDType, type Sorted, type Weight } from "../tensor/index.js";
import { Block, initializerStd } from "./block.js";
import { modelConfig, type ModelConfig, type ModelOptions } from "./config.js";
import { dropoutKey, tap, type ForwardContext } from "./context.js";
import { Head } from "./head.js";
import { Initializer, Module } from "./module.js";
import { makeNorm, type Norm } from "./norms/norm.js";
import { LearnedPositions, SinusoidalPositions, type AbsolutePositions } from "./positions/absolute.js";
import { ropeRegime } from "./positions/rope-scaling.js";
import { Rotary } from "./positions/rotary.js";

export interface DecoderOptions {
  /** Decides every initial weight. */
  readonly seed?: number;
  readonly device?: Device;
  /** `none`: memory without contents, for a model about to be loaded. */
  readonly weights?: "random" | "none";
}

/**
 * The parts of a forward pass that a caller chooses; the rest follows from the ids. Positions are by default 0, 1, 2, ... Who gives others says with
 * `lengths` how long the sequences are; they are taken to fill the context otherwise.
 */
export type ForwardOptions = Partial<ForwardContext>;

export class Decoder extends Module {
  readonly config: ModelConfig;
  /** [vocabSize, hiddenSize]. */
  readonly embed: Weight;
  readonly positions: AbsolutePositions | undefined;
  readonly embeddingNorm: Norm | undefined;
  readonly blocks: readonly Block[];
  /** None with post-norm, where a block ends in one. */
  readonly finalNorm: Norm | undefined;
  /** [vocabSize, hiddenSize]; the embedding itself when they are tied. */
  readonly unembed: Weight;
  /** What stands on the final hidden states. */
  readonly head: Head;

  /** Throws ConfigError when the configuration cannot be built. */
  constructor(options: ModelOptions, { seed = 0, device, weights = "random" }: DecoderOptions = {}) {
    super();
    const config = (this.config = modelConfig(options));
    const init = new Initializer({ seed, random: weights === "random", ...(device && { device }) });
    this.embed = init.normal([config.vocabSize, config.hiddenSize], initializerStd);
    this.positions =
      config.position === "learned" ? new LearnedPositions(init, config, initializerStd)
      : config.position === "sinusoidal" ? new SinusoidalPositions(config, device)
      : undefined;
    this.embeddingNorm = config.embeddingNorm ? makeNorm(init, config, "ln_embed") : undefined;
    const rotary = config.position === "rope" ? new Rotary(config, { device }) : undefined;
    const localRotary = rotary && config.localRopeTheta > 0 ? new Rotary(config, { local: true, device }) : rotary;
    const rotaryOf = (layer: number) => (config.ropeLayers[layer] ? (config.layerTypes[layer] === "sliding" ? localRotary : rotary) : undefined);
    this.blocks = Array.from({ length: config.numLayers }, (_, layer) => new Block(init, config, layer, rotaryOf(layer), device));
    this.finalNorm = config.normPlacement === "post" ? undefined : makeNorm(init, config, "ln_final");
    this.unembed = config.tieEmbeddings ? this.embed : init.normal([config.vocabSize, config.hiddenSize], initializerStd);
    this.head = new Head({ weight: () => this.unembed, scale: config.logitScale, softcap: config.logitSoftcap });
  }

  get device(): Device {
    return this.embed.device;
  }

  /** ids i32 [batch, time] to the final hidden states [batch, time, hiddenSize]. Throws ShapeError when time exceeds the context. */
  hidden(ids: Tensor, options: ForwardOptions = {}): Tensor {
    return scope(() => {
      const context = this.#context(ids, options);
      const { embeddingScale } = this.config;
      const embedded = embedding(this.embed, ids, { dtype: context.dtype });
      let x = tap(context, "", "hook_embed", embeddingScale === 1 ? embedded : embedded.mul(embeddingScale));
      if (this.positions !== undefined) x = x.add(tap(context, "", "hook_pos_embed", this.positions.forward(context)));
      if (this.embeddingNorm !== undefined) x = this.embeddingNorm.forward(x, context);
      if (context.dropout !== undefined && this.config.dropout > 0) x = dropout(x, this.config.dropout, dropoutKey(context.dropout, 0));
      for (const block of this.blocks) {
        // A scope a block: what only its forward pass needed is gone before the next begins.
        const forward = (x: Tensor, positions: Tensor) => scope(() => block.forward(x, { ...context, positions }));
        x = context.recompute === true ? recompute(forward, [x, context.positions]) : forward(x, context.positions);
      }
      return this.finalNorm?.forward(x, context) ?? x;
    });
  }

  /** The logits of every position, f32 [batch, time, vocabSize] whatever the compute dtype; of the last alone, [batch, 1, vocabSize], with `lastOnly`. */
  logits(ids: Tensor, { lastOnly = false, ...options }: ForwardOptions & { readonly lastOnly?: boolean } = {}): Tensor {
    return scope(() => {
      const hidden = this.hidden(ids, options);
      return this.unembedded(lastOnly ? hidden.slice(1, -1) : hidden);
    });
  }

  /**
   * The `count` best tokens to follow the last position among the ids below `choices`, the best first, with their logits: as sorting `logits` gives them, to the
   * last bit, at less cost where `findsBest`. Both are [batch, count]; NaN counts as the best, and equals rank by id.
   */
  best(ids: Tensor, count: number, { choices = this.config.vocabSize, ...options }: ForwardOptions & { readonly choices?: number } = {}): Sorted {
    return scope(() => {
      const hidden = this.hidden(ids, options).slice(1, -1).reshape([ids.shape[0], this.config.hiddenSize]);
      return this.head.topK(hidden, count, { choices });
    });
  }

  /** Whether `best` does without all logits in memory: of a quantised unembedding, where nothing follows that could make two of them equal. */
  get findsBest(): boolean {
    return this.head.skipsLogits;
  }

  /** The logits, f32 [..., vocabSize], of final hidden states [..., hiddenSize]: for those who want them a part at a time. */
  unembedded(hidden: Tensor): Tensor {
    return this.head.logits(hidden);
  }

  /** Mean cross-entropy in nats of targets i32 [batch, time] (-1: does not count), a scalar; the logits never exist as a whole. */
  loss(ids: Tensor, targets: Tensor, options: ForwardOptions = {}): Tensor {
    return scope(() => meanLoss(this.head.loss(this.hidden(ids, options), targets)));
  }

  #context(ids: Tensor, options: ForwardOptions): ForwardContext {
    const [batch, time] = ids.shape;
    if (ids.rank !== 2) throw new ShapeError("Decoder", [ids.shape], "Token ids are [batch, time].");
    if (time > this.config.contextLength) {
      throw new ConfigError("contextLength", `${time} tokens do not fit a context of ${this.config.contextLength}.`, { code: "context-exceeded" });
    }
    const dtype: FloatDType = options.dtype ?? "f32";
    const positions = options.positions ?? Tensor.arange(time, { dtype: "i32", device: ids.device }).reshape([1, time]).expand([batch, time]);
    const lengths = options.lengths ?? Array<number>(batch).fill(options.positions === undefined ? time : this.config.contextLength);
    return { ...options, dtype, positions, lengths };
  }

  /**
   * What keys and values of a sequence were computed for: as long as this number stays as it grows, cached ones hold. It changes only where RoPE's
   * angles depend on the length: with "longrope" once, beyond the original context; with "dynamic" with every token from there on.
   */
  regimeOf(length: number): number {
    return this.config.position === "rope" ? ropeRegime(this.config.ropeScaling, length) : 0;
  }

  /** Number of parameters; tied ones count once. */
  get numParameters(): number {
    let n = 0;
    for (const weight of this.weights().values()) n += weight.size;
    return n;
  }

  /** Turns quantised weights into f32 parameters, which can be trained and take several times the memory. Gives how many there were. */
  dequantize(): number {
    const quantized = [...this.weights()].filter((entry): entry is [string, QuantizedTensor] => entry[1] instanceof QuantizedTensor);
    for (const [path, weight] of quantized) {
      const parameter = keep(weight.dequantize());
      parameter.requiresGrad = true;
      this.replace(new Map([[path, parameter]]));
    }
    return quantized.length;
  }

  /** Bytes of the parameters as they lie in memory. */
  get numBytes(): number {
    let n = 0;
    for (const weight of this.weights().values()) n += weight instanceof QuantizedTensor ? weight.numBytes : 4 * weight.size;
    return n;
  }

  /**
   * Floating-point operations to train on one token in a sequence of this length: 6 for each parameter that multiplies (2 forward, 4
   * backward; an embedding only looks up), and 12 * layers * heads * headSize * time for attention (Chowdhery et al. 2022, appendix B).
   */
  flopsPerToken(time = this.config.contextLength): number {
    const { numLayers, numHeads, headSize, tieEmbeddings } = this.config;
    const lookedUp = (this.positions instanceof LearnedPositions ? this.positions.weight.size : 0) + (tieEmbeddings ? 0 : this.embed.size);
    return 6 * (this.numParameters - lookedUp) + 12 * numLayers * numHeads * headSize * time;
  }

  /** Frees every parameter with its gradient, and every constant. The model cannot be used after that. */
  dispose(): void {
    for (const tensor of this.tensors().values()) tensor.dispose();
  }
}
