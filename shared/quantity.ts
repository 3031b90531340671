/** Amounts with a unit, as people write them into files: `512 MiB`, `100 Mbit/s`, `2 ms`. */

import { z } from 'zod'
import { nearest } from './nearest.js'

interface Measure {
  /** What it is, as in "must be an amount of memory with a unit". */
  readonly what: string
  readonly example: string
  /** Every unit that may be written, in terms of the one that is counted in. */
  readonly units: Readonly<Record<string, number>>
  /** In the unit that is counted in. */
  readonly least: number
  readonly most: number
}

const decimal = { B: 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 }
const binary = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }
const perSecond = (units: Readonly<Record<string, number>>, factor: number): Record<string, number> =>
  Object.fromEntries(Object.entries(units).map(([unit, size]) => [`${unit}/s`, size * factor]))
const bits = { bit: 1, kbit: 1e3, Mbit: 1e6, Gbit: 1e9 }
const times = { ns: 1e-3, us: 1, µs: 1, ms: 1e3, s: 1e6 }

const memory = {
  what: 'an amount of memory',
  example: '512 MiB',
  units: { ...decimal, ...binary },
  least: 1,
  most: 2 ** 50,
}
const rate = {
  what: 'a rate',
  example: '100 Mbit/s',
  units: { ...perSecond(bits, 1 / 8e6), ...perSecond({ ...decimal, ...binary }, 1e-6) },
  least: 1e-6,
  most: 1e9,
}
/** An hour: what takes longer is no time of one request. */
const longestUs = 3.6e9
const time = { what: 'a time', example: '2 ms', units: times, least: 0, most: longestUs }

/** Bytes of memory, at least 1. */
export const memoryBytes = quantity(memory)
/** A rate, in bytes per microsecond; more than nothing. */
export const rateBytesPerUs = quantity(rate)
/** A time in microseconds, 0 included. */
export const timeUs = quantity(time)
/** A time that is not 0, in microseconds. */
export const someTimeUs = quantity({ ...time, what: 'a time above 0', least: Number.MIN_VALUE })

function quantity(measure: Measure) {
  const { what, example, units } = measure
  const listed = Object.keys(units).map((unit) => unit.replace('/', String.raw`\/`))
  return z
    .string({ error: `${what} with its unit, like ${example}` })
    .meta({ pattern: String.raw`^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)? ?(${listed.join('|')})$`, examples: [example] })
    .transform((text, context) => {
      const read = amountOf(text, measure)
      if (typeof read === 'number') return read
      context.addIssue({ code: 'custom', message: read.wanted, input: text })
      return z.NEVER
    })
}

function amountOf(text: string, { what, example, units, least, most }: Measure): number | { wanted: string } {
  const [, digits, unit] = /^\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(.*?)\s*$/.exec(text) ?? []
  const factor = unit === undefined || !Object.hasOwn(units, unit) ? undefined : units[unit]!
  if (digits === undefined || unit === '') return { wanted: `${what} with its unit, like ${example}` }
  if (factor === undefined) {
    const meant = nearest(unit!, Object.keys(units))
    const known = meant === undefined ? `one of ${Object.keys(units).join(', ')}` : `did you mean '${meant}'?`
    return { wanted: `${what} like ${example}, and '${unit!.slice(0, 16)}' is no unit of it (${known})` }
  }
  const amount = Number(digits) * factor
  if (Number.isNaN(amount)) return { wanted: `${what} like ${example}` }
  if (amount < least) return { wanted: least > 0 ? `${what}, more than 0` : `${what}, not less than 0` }
  if (amount > most) return { wanted: `${what} of at most ${most / largest(units)} ${nameOfLargest(units)}` }
  return amount
}

function largest(units: Readonly<Record<string, number>>): number {
  return Math.max(...Object.values(units))
}

function nameOfLargest(units: Readonly<Record<string, number>>): string {
  return Object.keys(units).find((unit) => units[unit] === largest(units))!
}
