/** Times and shares for people. */

/** A time of so many microseconds: `310 us`, `3.12 ms`, `1.2 s`. */
export function showTime(us: number): string {
  if (us < 999.5) return `${us < 9.95 ? us.toFixed(1) : us.toFixed(0)} us`
  const [amount, unit] = us < 999_500 ? [us / 1000, 'ms'] : [us / 1e6, 's']
  return `${amount.toFixed(amount < 9.995 ? 2 : amount < 99.95 ? 1 : 0)} ${unit}`
}

/** `31 %`; below 10 with one digit. */
export function showPercent(share: number): string {
  const percent = 100 * share
  return `${percent.toFixed(Math.abs(percent) < 9.95 && percent !== 0 ? 1 : 0)} %`
}

/** With its sign: `+31 %`, `-4.2 %`. */
export function showChange(share: number): string {
  return `${share > 0 ? '+' : ''}${showPercent(share)}`
}

/** Results per second, given the time between two. */
export function showRate(periodUs: number): string {
  const perSecond = 1e6 / periodUs
  return `${perSecond >= 99.95 ? perSecond.toFixed(0) : Number(perSecond.toPrecision(3))}/s`
}

/** The text in at most `width` characters: the middle gives way, since names differ at both ends. */
export function shorten(text: string, width: number): string {
  if (text.length <= width) return text
  const head = Math.ceil((width - 1) / 2)
  return `${text.slice(0, head)}…${text.slice(text.length - (width - 1 - head))}`
}
