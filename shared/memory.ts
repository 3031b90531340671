/** How our programs free the memory of tensors. */

import { setFlagsFromString } from 'node:v8'

/**
 * Has V8 free dead buffers in the collection that finds them, instead of later on another thread. As long as they are not
 * freed they count as live, so that whoever makes tensors faster than that thread frees them pays with full collections: 7
 * to 32 of them in 4,000 frames of 150 KB sealed and opened, and a third of the CPU time; with this hardly any.
 * For programs, at their start: it holds for the whole process, so a library leaves it alone.
 */
export function freeBuffersAtOnce(): void {
  setFlagsFromString('--no-concurrent-array-buffer-sweeping')
}
