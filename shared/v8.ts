/** How our programs have V8 run them. For programs, at their start: it holds for the whole process, so a library leaves it alone. */

import { setFlagsFromString } from 'node:v8'

/**
 * Sets V8 up for a program through which tensors flow all day.
 *
 * - Dead buffers are freed in the collection that finds them, instead of later on another thread. As long as they are not
 *   freed they count as live, so that whoever makes tensors faster than that thread frees them pays with full collections: 7
 *   to 32 of them in 4,000 frames of 150 KB sealed and opened, and a third of the CPU time; with this hardly any.
 * - A function is compiled after a quarter of the usual work. A frame passes through some hundred short functions that are
 *   called once each, which V8 takes for cold: left alone it takes 8,000 requests, half a minute at full load, until a
 *   pipeline of small stages has reached its speed; so, 2,000. (With less it compiles what it soon throws away.)
 */
export function tuneV8(): void {
  setFlagsFromString('--no-concurrent-array-buffer-sweeping')
  setFlagsFromString('--interrupt-budget=33792')
}
