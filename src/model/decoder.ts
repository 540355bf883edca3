/**
 * @file The language model, top to bottom: token ids become vectors, blocks refine them, and the head turns each into a score for every
 * possible next token.
 *
 *   ids -> embed (+ positions) -> blocks -> norm -> head -> logits, loss
 */

import { ConfigError, ShapeError } from "../errors.js";
import { Tensor, dropout, embedding, meanLoss, recompute, scope, type Device, type FloatDType, type Weight } from "../tensor/index.js";
import { buildBlock, type Block } from "./block.js";
import { modelConfig, type ModelConfig, type ModelOptions } from "./config.js";
import { dropoutKey, type ForwardContext } from "./context.js";
import { Head } from "./head.js";
import { Module, nameModules } from "./module.js";
import { buildNorm, type Norm } from "./norms/norm.js";
import { Initializer, table } from "./parameter.js";
import { LearnedPositions, SinusoidalPositions, type AbsolutePositions } from "./positions/absolute.js";
import { RotaryTables } from "./positions/rotary.js";

export interface DecoderOptions {
  /** Decides every initial weight. */
  readonly seed?: number;
  readonly device?: Device;
  /** `none`: memory without contents, for a model about to be loaded. */
  readonly weights?: "random" | "none";
}

/**
 * The parts of a forward pass that a caller chooses; the rest follows from the ids. Positions are 0, 1, 2, ... by default. If you pass
 * `positions`, pass `lengths` too; without them the sequences are taken to fill the context.
 */
export type ForwardOptions = Partial<ForwardContext>;

/** GPT-2's standard deviation for all weight matrices and embeddings. */
const std = 0.02;

export class Decoder extends Module {
  readonly config: ModelConfig;
  /** [vocabSize, hiddenSize]. */
  readonly embed: Weight;
  readonly positions: AbsolutePositions | undefined;
  readonly embeddingNorm: Norm | undefined;
  readonly blocks: readonly Block[];
  readonly finalNorm: Norm | undefined;
  /** [vocabSize, hiddenSize]; the embedding itself when they are tied. */
  readonly unembed: Weight;
  readonly head: Head;

  /** Throws ConfigError when the configuration cannot be built. */
  constructor(options: ModelOptions, { seed = 0, device, weights = "random" }: DecoderOptions = {}) {
    super();
    const config = (this.config = modelConfig(options));
    const { vocabSize, hiddenSize, contextLength, layers, dropout } = config;
    const numLayers = layers.length;
    const init = new Initializer({ seed, random: weights === "random", ...(device && { device }) });
    const norm = (spec: ModelConfig["finalNorm"]) => (spec.kind === "none" ? undefined : buildNorm(spec, init, hiddenSize));
    this.embed = init.normal([vocabSize, hiddenSize], std, table);
    this.positions = { none: () => undefined, learned: () => new LearnedPositions(init, config, std), sinusoidal: () => new SinusoidalPositions(config, device) }[config.embedding.positions]();
    this.embeddingNorm = norm(config.embedding.norm);
    const place = { hiddenSize, contextLength, init, device, numLayers, dropout, std, residualStd: std / Math.sqrt(2 * numLayers), rotary: new RotaryTables(contextLength) };
    this.blocks = layers.map((spec, layer) => buildBlock(spec, { ...place, layer }));
    this.finalNorm = norm(config.finalNorm);
    this.unembed = config.head.tied ? this.embed : init.normal([vocabSize, hiddenSize], std, table);
    this.head = new Head({ weight: () => this.unembed, scale: config.head.scale, softcap: config.head.softcap });
    nameModules(this);
  }

  get device(): Device {
    return this.embed.device;
  }

  /** ids i32 [batch, time] to the final hidden states [batch, time, hiddenSize]. Throws ShapeError when time exceeds the context. */
  hidden(ids: Tensor, options: ForwardOptions = {}): Tensor {
    return scope(() => {
      const context = this.#context(ids, options);
      let x = this.#embedded(ids, context);
      for (const block of this.blocks) {
        // A scope for each block: what only its forward pass needed is gone before the next begins.
        const forward = (x: Tensor, positions: Tensor) => scope(() => block.forward(x, { ...context, positions }));
        x = context.recompute === true && context.taps === undefined ? recompute(forward, [x, context.positions]) : forward(x, context.positions);
      }
      return this.finalNorm?.forward(x, context) ?? x;
    });
  }

  /** The logits of every position, f32 [batch, time, vocabSize] whatever the compute dtype; of the last alone, [batch, 1, vocabSize], with `lastOnly`. */
  logits(ids: Tensor, { lastOnly = false, ...options }: ForwardOptions & { readonly lastOnly?: boolean } = {}): Tensor {
    return scope(() => {
      const hidden = this.hidden(ids, options);
      return this.head.logits(lastOnly ? hidden.slice(1, -1) : hidden);
    });
  }

  /** Mean cross-entropy in nats of targets i32 [batch, time] (-1: does not count), a scalar; the logits never exist as a whole. */
  loss(ids: Tensor, targets: Tensor, options: ForwardOptions = {}): Tensor {
    return scope(() => meanLoss(this.head.loss(this.hidden(ids, options), targets)));
  }

  #embedded(ids: Tensor, context: ForwardContext): Tensor {
    const { embedding: { scale }, dropout: p } = this.config;
    const embedded = embedding(this.embed, ids, { dtype: context.dtype });
    let x = this.tap(context, "hook_embed", scale === 1 ? embedded : embedded.mul(scale));
    if (this.positions !== undefined) x = x.add(this.tap(context, "hook_pos_embed", this.positions.forward(context)));
    if (this.embeddingNorm !== undefined) x = this.embeddingNorm.forward(x, context);
    return context.dropout === undefined || p === 0 ? x : dropout(x, p, dropoutKey(context.dropout, 0));
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

  override forwardFlops(time: number): number {
    const parts = [this.positions, this.embeddingNorm, ...this.blocks, this.finalNorm];
    return 2 * this.unembed.size + parts.reduce((sum, part) => sum + (part?.forwardFlops(time) ?? 0), 0);
  }

  /**
   * Floating-point operations to train on one token in a sequence of this length: three times those of the forward pass, since the backward
   * pass computes two products for each of its own (Chowdhery et al. 2022, appendix B).
   */
  flopsPerToken(time = this.config.contextLength): number {
    return 3 * this.forwardFlops(time);
  }

  protected override tapName(field: string): string | undefined {
    return { embeddingNorm: "ln_embed", finalNorm: "ln_final" }[field] ?? field;
  }
}
