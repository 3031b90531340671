/** What could be bought, moved or allowed: each a problem of its own, so that planning again says what it is worth. */

import type { Load } from './cost.js'
import { plannedLink, type Fleet, type FleetLink } from './fleet.js'
import type { ModelWork } from './model-work.js'
import { pose, type PoseOptions, type Posed } from './pose.js'
import type { DeviceClass, Link, Placement, Problem } from './problem.js'

export interface Change {
  readonly kind: 'link' | 'device' | 'memory' | 'without' | 'setting'
  /** Changes about one thing are alternatives, the cheaper one first. */
  readonly about: string
  /** What is changed, as the beginning of a sentence. */
  readonly says: string
  readonly problem: Problem
}

export interface Question {
  readonly work: ModelWork
  readonly fleet: Fleet
  readonly options: PoseOptions
  readonly posed: Posed
}

/** Changes that may help the plan of `placement`, and what the loss of a device would cost it. */
export function changesTo(question: Question, placement: Placement, load: Load): Change[] {
  return [
    ...linkChanges(question, load),
    ...memoryChanges(question, load),
    ...deviceChanges(question),
    ...settingChanges(question),
    ...losses(question, placement),
  ]
}

/** Faster links, of those that the plan uses. */
function linkChanges({ fleet, posed: { problem, classes } }: Question, { messages, members }: Load): Change[] {
  const classOf = (stage: number | undefined, part: number): number | undefined =>
    members.find((member) => member.stage === stage && member.part === part)?.class
  const pairs = new Map<string, readonly [number | undefined, number | undefined]>()
  for (const { from, sender, to, receiver } of messages) {
    const ends = [classOf(from, sender), classOf(to, receiver)] as const
    const [low, high] = [...ends].sort((a, b) => (a ?? -1) - (b ?? -1))
    pairs.set(`${low} ${high}`, [low, high])
  }
  return [...pairs].flatMap(([about, [a, b]]) => {
    const link = linkIn(fleet, classes, a, b)
    if (link === undefined) return []
    const where =
      a === b
        ? `between any two like ${problem.classes[a!]!.name}`
        : `between ${nameOf(problem, a)} and ${nameOf(problem, b)}`
    const faster = (factor: number): Problem => withLinks(fleet, problem, classes, a, b, factor)
    const rate = showRate(link.bytesPerUs)
    return [
      { kind: 'link', about, says: `a second link of ${rate} ${where}`, problem: faster(2) },
      {
        kind: 'link',
        about,
        says: `a link of ${showRate(10 * link.bytesPerUs)} instead of ${rate} ${where}`,
        problem: faster(10),
      },
    ] as const
  })
}

/** Twice the memory where least is left. */
function memoryChanges({ posed: { problem } }: Question, { members }: Load): Change[] {
  const share = (kind: number): number =>
    Math.max(
      0,
      ...members
        .filter((member) => member.class === kind)
        .map(({ memoryBytes }) => memoryBytes / problem.classes[kind]!.memoryBytes),
    )
  const tightest = problem.classes.reduce((best, _, kind) => (share(kind) > share(best) ? kind : best), 0)
  const { name, memoryBytes } = problem.classes[tightest]!
  const classes = withClass(problem, tightest, { memoryBytes: 2 * memoryBytes })
  return [{ kind: 'memory', about: 'memory', says: `twice the memory in ${name}`, problem: { ...problem, classes } }]
}

/** One more of each kind of device. */
function deviceChanges({ posed: { problem } }: Question): Change[] {
  return problem.classes.map(({ name, count }, kind) => ({
    kind: 'device',
    about: 'device',
    says: `one more device like ${name}`,
    problem: { ...problem, classes: withClass(problem, kind, { count: count + 1 }) },
  }))
}

/** What the user could allow. */
function settingChanges({ work, fleet, options }: Question): Change[] {
  const found: Change[] = []
  const add = (about: string, says: string, more: Partial<PoseOptions>): void =>
    void found.push({ kind: 'setting', about, says, problem: pose(work, fleet, { ...options, ...more }).problem })
  const { bits = 32, maxReplicas, maxParts, shape } = options
  if (bits > 16) add('bits', 'activations of 16 bits on their way (--bits 16)', { bits: 16 })
  if (bits > 8) add('bits', 'activations of 8 bits on their way (--bits 8)', { bits: 8 })
  if (maxReplicas === 1) add('replicas', 'replicas (--replicas 4)', { maxReplicas: 4 })
  if (maxParts === 1 && work.regions.length > 0) add('parts', 'layers in parts (--granularity auto)', { maxParts: 4 })
  if (shape === 'chain') add('shape', 'stages that form a graph (--shape dag)', { shape: 'dag' })
  return found
}

/** Each kind of device that the plan uses, one fewer. */
function losses({ posed: { problem } }: Question, { stages }: Placement): Change[] {
  const total = problem.classes.reduce((sum, { count }) => sum + count, 0)
  if (total === 1) return []
  const used = new Set(stages.flatMap(({ holding }) => (holding.kind === 'parts' ? holding.classes : [holding.class])))
  return [...used]
    .sort((a, b) => a - b)
    .map((kind) => {
      const { name, count } = problem.classes[kind]!
      const says = `without ${count === 1 ? name : `one ${name}`}`
      const fewer = { ...problem, classes: withClass(problem, kind, { count: count - 1 }) }
      return { kind: 'without', about: says, says, problem: count > 1 ? fewer : withoutClass(problem, kind) }
    })
}

function withClass({ classes }: Problem, index: number, more: Partial<DeviceClass>): DeviceClass[] {
  return classes.map((kind, at) => (at === index ? { ...kind, ...more } : kind))
}

function withoutClass(problem: Problem, index: number): Problem {
  const rest = <T>(of: readonly T[]): T[] => of.filter((_, at) => at !== index)
  const { classes, links, fromClient, toClient } = problem
  return {
    ...problem,
    classes: rest(classes),
    links: rest(links).map(rest),
    fromClient: rest(fromClient),
    toClient: rest(toClient),
  }
}

/** The problem with `factor` times the rate between two classes, or a class and the client, both ways. */
function withLinks(
  fleet: Fleet,
  problem: Problem,
  classes: Posed['classes'],
  a: number | undefined,
  b: number | undefined,
  factor: number,
): Problem {
  const { relay } = fleet.overhead
  const faster = (link: FleetLink | undefined): Link | undefined =>
    plannedLink(link === undefined ? undefined : { ...link, bytesPerUs: factor * link.bytesPerUs }, relay)
  if (a === undefined || b === undefined) {
    const kind = (a ?? b)!
    const first = classes[kind]![0]!
    const set = (links: readonly (Link | undefined)[], link: FleetLink | undefined): (Link | undefined)[] =>
      links.map((old, at) => (at === kind ? faster(link) : old))
    const { fromClient, toClient } = problem
    return {
      ...problem,
      fromClient: set(fromClient, fleet.fromClient[first]),
      toClient: set(toClient, fleet.toClient[first]),
    }
  }
  const links = problem.links.map((row, from) =>
    row.map((old, to) =>
      (from === a && to === b) || (from === b && to === a) ? faster(linkIn(fleet, classes, from, to)) : old,
    ),
  )
  return { ...problem, links }
}

/** The link between two classes, or from the client to one. */
function linkIn(
  fleet: Fleet,
  classes: Posed['classes'],
  a: number | undefined,
  b: number | undefined,
): FleetLink | undefined {
  if (a === undefined || b === undefined) return fleet.fromClient[classes[(a ?? b)!]![0]!]
  const from = classes[a]![0]!
  return fleet.links[from]![a === b ? (classes[a]![1] ?? from) : classes[b]![0]!]
}

function nameOf({ classes }: Problem, kind: number | undefined): string {
  if (kind === undefined) return 'the client'
  const { name, count } = classes[kind]!
  return count === 1 ? name : `each ${name}`
}

/** A rate for people: `100 Mbit/s`. */
export function showRate(bytesPerUs: number): string {
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']
  let amount = bytesPerUs * 8e6
  let unit = 0
  for (; amount >= 999.5 && unit < units.length - 1; unit++) amount /= 1000
  return `${Number(amount.toPrecision(3))} ${units[unit]}`
}
