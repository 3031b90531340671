/**
 * Whether the fleet should change over to another plan now that something has changed: only if the gain repays the move,
 * only after it has lasted, and the less readily the more often it has done so lately. Pure: values in, a decision with its
 * reasons out. Times in microseconds, those of the clock in milliseconds.
 */

import type { Held } from './seating.js'

/** What has changed since the last look. */
export type Change =
  | { readonly kind: 'join' | 'leave'; readonly device: string }
  /** Times are `factor` of what they were. */
  | { readonly kind: 'speed'; readonly device: string; readonly factor: number }
  | { readonly kind: 'link'; readonly from: string; readonly to: string; readonly factor: number }

/** A segment on a device. */
export interface Holding {
  readonly device: string
  /** Equal names are equal bytes. */
  readonly segment: string
  readonly bytes: number
  /** From the sealed file to a session that runs. */
  readonly loadUs: number
}

/** A way to run the model. */
export interface Arrangement {
  readonly holdings: readonly Holding[]
  /** The objective under what is known now, for one request; `Infinity` where it cannot go on. */
  readonly valueUs: number
}

export interface Policy {
  /** The smallest gain that is worth a move, as a share of the value. Doubled by every switch within `calmMs`. */
  readonly leastGain: number
  readonly calmMs: number
  /** A gain must have been there for so long, and in so many looks. */
  readonly lastsMs: number
  readonly looks: number
  /** Conditions are taken to last as long as they have lasted, within these. */
  readonly leastAheadMs: number
  readonly mostAheadMs: number
  /** The move must be repaid so many times within that. */
  readonly margin: number
}

export const usualPolicy: Policy = {
  leastGain: 0.1,
  calmMs: 3_600_000,
  lastsMs: 10_000,
  looks: 3,
  leastAheadMs: 60_000,
  mostAheadMs: 3_600_000,
  margin: 2,
}

export interface Situation {
  readonly changes: readonly Change[]
  /** The plan in force, valued anew; `undefined` where there is none. */
  readonly current: Arrangement | undefined
  /** Others, the optimum among them. */
  readonly candidates: readonly Arrangement[]
  readonly held: Held
  /** Of the way by which segments reach the devices, one after the other. */
  readonly deliveryByteUs: number
  /** When conditions last changed, and when the plan was last changed by choice. */
  readonly changedAtMs: number
  readonly switchedAtMs: readonly number[]
  readonly nowMs: number
  /** What people call a device; as it is written here unless given. */
  readonly nameOf?: (device: string) => string
}

/** A gain that is not acted upon yet. */
export interface Waiting {
  readonly sinceMs: number
  readonly looks: number
}

export interface Move {
  readonly device: string
  readonly segment: string
  readonly bytes: number
}

export interface Decision {
  /** `wait`: there is no plan to go on with, and none to change over to. */
  readonly do: 'keep' | 'switch' | 'wait'
  /** The arrangement to change over to. */
  readonly to?: Arrangement
  /** What has to be delivered for it; what its devices hold already stays where it is. */
  readonly moves: readonly Move[]
  /** Share of the value that the best candidate saves; 1 where the plan in force cannot go on. */
  readonly gain: number
  /** How long the move takes, and after how long it is repaid. */
  readonly moveUs: number
  readonly repaidAfterUs: number
  /** In words and numbers. */
  readonly because: string
}

/** One look at the situation. `waiting` goes into the next look. */
export function decide(
  situation: Situation,
  waiting: Waiting | undefined,
  policy: Policy = usualPolicy,
): { decision: Decision; waiting: Waiting | undefined } {
  const { current, nowMs, nameOf = (device) => device } = situation
  const aheadUs = aheadOf(situation, policy) * 1000
  const currentUs = current?.valueUs ?? Infinity
  const best = bestOf(situation, aheadUs)
  const said = (rest: Omit<Decision, 'because'>, why: string): Decision => ({
    ...rest,
    because: [...situation.changes.map((change) => wordsOf(change, nameOf)), why].join('; '),
  })
  const none = { moves: [], gain: 0, moveUs: 0, repaidAfterUs: 0 }
  if (best === undefined) {
    const isRunning = currentUs < Infinity
    const why = isRunning ? 'no other plan can run the model' : 'no plan can run the model on the devices that are here'
    return { decision: said({ do: isRunning ? 'keep' : 'wait', ...none }, why), waiting: undefined }
  }
  const { to, moves, moveUs } = best
  if (currentUs === Infinity) {
    const first = current === undefined ? 'there is no plan in force' : 'the plan in force cannot go on'
    const why = `${first}: the new one takes ${ms(to.valueUs)} a request; ${moving(to, moves, moveUs, nameOf)}`
    return {
      decision: said({ do: 'switch', to, moves, gain: 1, moveUs, repaidAfterUs: moveUs }, why),
      waiting: undefined,
    }
  }
  const gain = 1 - to.valueUs / currentUs
  const repaidAfterUs = gain > 0 ? moveUs / gain : Infinity
  const found = { moves, gain, moveUs, repaidAfterUs }
  const offer = `the best other plan would take ${ms(to.valueUs)} a request instead of ${ms(currentUs)} (${percent(gain)} less)`
  const keep = (why: string, next?: Waiting): { decision: Decision; waiting: Waiting | undefined } => ({
    decision: said({ do: 'keep', ...found }, why),
    waiting: next,
  })
  if (gain <= 0) return keep(`no other plan is faster than the ${ms(currentUs)} a request of the one in force`)
  const wanted = wantedGain(situation, policy)
  if (gain < wanted) {
    const lately = wanted > policy.leastGain ? ' after the changes of the last hour' : ''
    return keep(`${offer}, below the ${percent(wanted)} that a move is worth${lately}`)
  }
  if (repaidAfterUs * policy.margin > aheadUs) {
    return keep(
      `${offer}, but the move takes ${ms(moveUs)} and is repaid after ${ms(repaidAfterUs)} only, too much for conditions that may last ${ms(aheadUs)}`,
    )
  }
  const next = waiting === undefined ? { sinceMs: nowMs, looks: 1 } : { ...waiting, looks: waiting.looks + 1 }
  if (next.looks < policy.looks || nowMs - next.sinceMs < policy.lastsMs) {
    return keep(
      `${offer}, for ${ms((nowMs - next.sinceMs) * 1000)} so far: it has to last ${ms(policy.lastsMs * 1000)}`,
      next,
    )
  }
  const why = `${offer}, which repays the move after ${ms(repaidAfterUs)}; ${moving(to, moves, moveUs, nameOf)}`
  return { decision: said({ do: 'switch', to, ...found }, why), waiting: undefined }
}

/** What has to be delivered for an arrangement: the segments that their devices do not hold. */
export function movesOf({ holdings }: Arrangement, held: Held): Move[] {
  return holdings
    .filter(({ device, segment }) => held.get(device)?.has(segment) !== true)
    .map(({ device, segment, bytes }) => ({ device, segment, bytes }))
}

/** Delivery one after the other, then the slowest to load; devices that keep theirs have it loaded. */
export function moveUsOf(
  to: Arrangement,
  { held, deliveryByteUs }: Pick<Situation, 'held' | 'deliveryByteUs'>,
): number {
  const moves = movesOf(to, held)
  const isMoved = (device: string): boolean => moves.some((move) => move.device === device)
  const loadUs = to.holdings.filter(({ device }) => isMoved(device)).map((holding) => holding.loadUs)
  return moves.reduce((sum, { bytes }) => sum + bytes, 0) * deliveryByteUs + Math.max(0, ...loadUs)
}

/** The candidate by which most is done in the time ahead, the move counted as lost; of equals the one that moves least. */
function bestOf(situation: Situation, aheadUs: number): { to: Arrangement; moves: Move[]; moveUs: number } | undefined {
  let best: { to: Arrangement; moveUs: number; done: number } | undefined
  for (const to of situation.candidates) {
    if (!(to.valueUs < Infinity)) continue
    const moveUs = moveUsOf(to, situation)
    // A move longer than the time ahead does nothing in it: then the shorter one comes first.
    const done = aheadUs > moveUs ? (aheadUs - moveUs) / to.valueUs : aheadUs - moveUs
    if (best === undefined || done > best.done || (done === best.done && moveUs < best.moveUs))
      best = { to, moveUs, done }
  }
  return best && { to: best.to, moveUs: best.moveUs, moves: movesOf(best.to, situation.held) }
}

function aheadOf({ nowMs, changedAtMs }: Situation, { leastAheadMs, mostAheadMs }: Policy): number {
  return Math.min(mostAheadMs, Math.max(leastAheadMs, nowMs - changedAtMs))
}

function wantedGain({ switchedAtMs, nowMs }: Situation, { leastGain, calmMs }: Policy): number {
  const lately = switchedAtMs.filter((atMs) => nowMs - atMs < calmMs).length
  return leastGain * 2 ** lately
}

type NameOf = (device: string) => string

function moving({ holdings }: Arrangement, moves: readonly Move[], moveUs: number, nameOf: NameOf): string {
  const kept = holdings.length - moves.length
  const keeps = kept === 0 ? '' : ` (${kept} of ${holdings.length} segments stay where they are)`
  if (moves.length === 0) return `nothing has to be delivered${keeps}`
  const bytes = moves.reduce((sum, move) => sum + move.bytes, 0)
  const which = moves.map(({ segment, device }) => `${segment} to ${nameOf(device)}`).join(', ')
  return `${(bytes / 1e6).toFixed(1)} MB in ${ms(moveUs)}: ${which}${keeps}`
}

function wordsOf(change: Change, nameOf: NameOf): string {
  switch (change.kind) {
    case 'join':
      return `${nameOf(change.device)} has joined`
    case 'leave':
      return `${nameOf(change.device)} has left`
    case 'speed':
      return `${nameOf(change.device)} takes ${change.factor.toFixed(2)} times as long as before`
    case 'link':
      return `the link from ${nameOf(change.from)} to ${nameOf(change.to)} takes ${change.factor.toFixed(2)} times as long as before`
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`
}

function ms(us: number): string {
  if (us >= 1e6) return `${(us / 1e6).toFixed(1)} s`
  return us >= 1e4 ? `${Math.round(us / 1000)} ms` : `${(us / 1000).toFixed(2)} ms`
}
