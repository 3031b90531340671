/**
 * What the planner is asked, as numbers: a model as work and a fleet as machines and links. Knows no ONNX, no device id and
 * no clock; all times are microseconds, all sizes bytes, all costs of one request.
 *
 * **The space that is searched**, no more and no less:
 *
 * - A placement is a row of stages, none of them empty. Every node is in one stage, and what the first k stages hold is
 *   closed under predecessors for every k: so each stage is convex, and the stages form no cycle.
 * - A device holds one stage at most; devices may stay idle.
 * - A stage is held by **one** device; or by **replicas**: 2 to `maxReplicas` devices of one class, that take requests in
 *   turn (request number `r` is for number `r mod count` of them); or, where its nodes are exactly those of a region, by
 *   **parts**: 2 to `maxParts` devices of any classes, each of which does a share of the region's channels for every request
 *   (`sharesOf` in `shares.ts` fixes the shares).
 * - `shape: 'chain'`: each stage sends to the next one only; a value made early and used late rides along, so what goes from
 *   stage k to k + 1 is all that is alive there, in one message, which is sent even where nothing is alive. All inputs enter
 *   by the first stage and all outputs leave by the last one, also an input that is an output.
 * - `shape: 'dag'`: a value goes straight from the stage that makes it (or the client) to each stage that reads it, once for
 *   each such stage, and outputs to the client; all that goes from one stage to another is one message. Where nothing goes,
 *   there is none: a stage may have nothing to wait for, and an input that is an output never leaves the client.
 * - Between stages in parts, and from one to any other, each pair of devices has a message of its own. What a stage makes
 *   parted, each part sends its share of; what it makes whole (every part does), what it passes on and what it takes to pass
 *   on is the first part's affair. Between two stages that are both parted, each pair exchanges share times share.
 * - A time of `Infinity` says that a device may not or cannot run the node (a pin, a demand of trust, an operator that is not
 *   there); a link that is `undefined` may not be used. Memory is a hard limit. A placement counts where its period is finite
 *   and its memory share is at most 1, whatever the objective.
 *
 * **What a placement costs** is `costOf` in `cost.ts`.
 */

export interface Problem {
  /** In a topological order. */
  readonly nodes: readonly WorkNode[]
  readonly values: readonly Value[]
  /** Devices that are alike in speed, memory and links are one class: searching is by counts, not by names. */
  readonly classes: readonly DeviceClass[]
  /** `links[from][to]`, by class; `links[c][c]` is between two devices of the class. */
  readonly links: readonly (readonly (Link | undefined)[])[]
  /** Between the client and a device of each class; `undefined` where they may not talk. */
  readonly fromClient: readonly (Link | undefined)[]
  readonly toClient: readonly (Link | undefined)[]
  /** Sets of nodes that can be parted by channels and stay parted from their first node to their last. */
  readonly regions: readonly Region[]
  readonly shape: 'chain' | 'dag'
  /** 1: no replication. */
  readonly maxReplicas: number
  /** 1: nothing is parted. */
  readonly maxParts: number
  /**
   * In shape 'dag' where nothing is parted: a value that goes to several is sealed once for all of them, under a key that
   * they share, and not once for each. Whoever reads it still opens it, and every message still costs its `messageUs`.
   */
  readonly sealedOnce?: boolean
}

export interface WorkNode {
  readonly name: string
  /** Weights that only this node uses; they are held as long as the stage is. */
  readonly weightBytes: number
  /** What the node needs while it runs: its operands, results and the engine's scratch. */
  readonly scratchBytes: number
}

/** A tensor that may have to cross from one stage to another. */
export interface Value {
  readonly name: string
  readonly bytes: number
  /** The node that makes it, or `undefined` for an input of the model. */
  readonly from: number | undefined
  /** The nodes that read it, ascending, each once. */
  readonly to: readonly number[]
  /** An output of the model: the client gets it. */
  readonly isOutput: boolean
}

export interface DeviceClass {
  readonly name: string
  /** Devices of the class, at least 1. */
  readonly count: number
  /** Time of every node on such a device; `Infinity` where it may not or cannot run there. */
  readonly nodeUs: readonly number[]
  /** Time of a stage that is there however little it does: the call into the engine, the queue. */
  readonly stageUs: number
  /** CPU to open what comes, and to seal what goes. */
  readonly open: Crossing
  readonly seal: Crossing
  readonly memoryBytes: number
  /** What a session needs besides weights and activations. */
  readonly sessionBytes: number
}

/** CPU time at one end of a message. */
export interface Crossing {
  readonly messageUs: number
  readonly byteUs: number
}

/** One direction between two devices. Whatever it carries keeps it busy; devices go on with other work meanwhile. */
export interface Link {
  /** Time that the link is busy for a message: fixed, and by the byte (1 / rate). */
  readonly messageUs: number
  readonly byteUs: number
  /** Time until what was sent has come, besides the time that the link is busy. */
  readonly latencyUs: number
}

/**
 * Nodes that a part of the channels can run through without the others: a Conv, Gemm or MatMul parted by its output
 * channels, and what keeps channels apart after it.
 */
export interface Region {
  /** Ascending; convex. */
  readonly nodes: readonly number[]
  /** Channels to share out. */
  readonly channels: number
  /** Channels come in multiples of this: 2, so that no part has the one channel whose sums differ, or a head's width. */
  readonly granule: number
  /** The nodes whose time and weights are shared out; the others (shape arithmetic, say) are done whole by every part. */
  readonly divided: readonly number[]
  /** Values that come in parted with the channels, so that a part gets its share of them only (depthwise). */
  readonly dividedInputs: readonly number[]
}

/** How one stage is held. */
export type Holding =
  | { readonly kind: 'one'; readonly class: number }
  | { readonly kind: 'replicas'; readonly class: number; readonly count: number }
  /** `classes` has a class for every part, ascending; one class may come more than once. */
  | { readonly kind: 'parts'; readonly region: number; readonly classes: readonly number[] }

export interface PlacedStage {
  /** Ascending. */
  readonly nodes: readonly number[]
  readonly holding: Holding
}

export interface Placement {
  readonly stages: readonly PlacedStage[]
}

/**
 * `throughput`: the period, time between two results at saturation. `latency`: time of one request alone. `batch`: time of
 * `requests` requests that come at once, `latency + (requests - 1) x period`. `memory`: the largest share of a device's
 * memory that is used.
 */
export type Objective =
  | { readonly kind: 'throughput' }
  | { readonly kind: 'latency' }
  | { readonly kind: 'batch'; readonly requests: number }
  | { readonly kind: 'memory' }

/** What a placement costs. */
export interface Cost {
  /** The busiest of all devices and links, in microseconds per request. */
  readonly periodUs: number
  readonly latencyUs: number
  /** The largest share of a device's memory that is used; above 1 it does not fit. */
  readonly memoryShare: number
}

/** How good a plan is, and how that is known. */
export interface Certificate {
  readonly objective: Objective
  /** Of the plan, in the objective's unit. */
  readonly value: number
  /** No placement of the space is better than this. */
  readonly lowerBound: number
  /** `value / lowerBound - 1`; 0 is proven optimal. */
  readonly gap: number
  /** How the bound was found: searched through, or which bound was the strongest. */
  readonly proof: string
  /** What was not searched and why, where the gap is not 0. */
  readonly remark?: string
}
