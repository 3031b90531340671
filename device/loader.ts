/** Brings one segment file here: asks for blocks until all are good, waits for its key. Ends early when cancelled. */

import { toHex } from '#shared/bytes.js'
import type { Cancel, Clock } from '#shared/clock.js'
import type { BlobGet, SegmentFile } from '#shared/protocol/messages.js'
import { blockCount, Download } from './vault/download.js'
import type { Rest, SegmentStore } from './vault/store.js'
import type { SegmentKey } from './link/hub-session.js'

/** Without a block for so long, the missing ones are asked for again. */
const askAgainAfterMs = 500
/** The broker's blob topic names a file by the first bytes of its hash, in hex. */
export function shortHash(fileHash: Uint8Array): string {
  return toHex(fileHash.subarray(0, 8))
}

export interface LoaderOptions {
  readonly file: SegmentFile
  readonly store: SegmentStore
  readonly clock: Clock
  readonly ask: (asked: BlobGet) => Promise<void>
  readonly onProgress: (have: number, of: number) => void
}

export class Loader {
  readonly #options: LoaderOptions
  #download: Download | undefined
  #rest: Rest | undefined
  #key: SegmentKey | undefined
  #writing: Promise<void> = Promise.resolve()
  #failure: unknown
  #asked = 0
  #cancelTimer: Cancel = () => {}
  #wake: () => void = () => {}
  isCancelled = false

  constructor(options: LoaderOptions) {
    this.#options = options
  }

  get of(): number {
    return this.#download?.of ?? 0
  }

  get isWaitingForKey(): boolean {
    return !this.isCancelled && this.#key === undefined
  }

  /** The whole file, each block checked, and its key; `undefined` when cancelled. Throws `Refusal('bad-segment')`. */
  async load(): Promise<{ bytes: Uint8Array; key: SegmentKey } | undefined> {
    const { file, store, onProgress } = this.#options
    blockCount(file) // before any memory is taken for it
    const rest = await store.open(file.fileHash, file.fileBytes)
    if (this.isCancelled) return undefined
    this.#rest = rest
    const download = new Download(file, rest.bytes)
    this.#download = download
    onProgress(download.have, download.of)
    const wasHere = download.isComplete
    this.#askNext()
    while (!this.isCancelled && this.#failure === undefined && !(download.isComplete && this.#key !== undefined)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#cancelTimer()
    await this.#writing
    if (this.#failure !== undefined) throw this.#failure
    if (this.isCancelled) return undefined
    if (!wasHere) await rest.complete()
    return { bytes: download.bytes, key: this.#key! }
  }

  keyCame(key: SegmentKey): void {
    if (toHex(key.fileHash) !== toHex(this.#options.file.fileHash)) return
    this.#key = key
    this.#wake()
  }

  blockCame(file: string, block: number, content: Uint8Array): void {
    const download = this.#download
    if (download === undefined || this.isCancelled || file !== shortHash(this.#options.file.fileHash)) return
    if (download.accept(block, content) !== 'good') return // a bad one is still missing: it is asked for again
    const rest = this.#rest!
    this.#writing = this.#writing
      .then(() => rest.write(download.offsetOf(block), content))
      .catch((error: unknown) => {
        this.#failure ??= error
        this.#wake()
      })
    if (--this.#asked <= 0 || download.isComplete) {
      this.#options.onProgress(download.have, download.of)
      this.#askNext()
    } else this.#armTimer()
    if (download.isComplete) this.#wake()
  }

  cancel(): void {
    this.isCancelled = true
    this.#cancelTimer()
    this.#wake()
  }

  #askNext(): void {
    const asked = this.#download?.ask()
    if (asked === undefined || this.isCancelled) {
      this.#cancelTimer()
      return
    }
    this.#asked = asked.missing.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
    this.#options.ask(asked).catch(() => {}) // offline: the timer asks again
    this.#armTimer()
  }

  #armTimer(): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#options.clock.after(askAgainAfterMs, () => this.#askNext())
  }
}
