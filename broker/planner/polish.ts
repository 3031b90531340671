/**
 * Small changes to a placement for as long as they help, where it could not be proven best: another device for a stage, two
 * stages' devices exchanged, a node moved to another stage.
 */

import { costOf } from './cost.js'
import { isLegal, valueOf } from './objective.js'
import type { Holding, Objective, PlacedStage, Placement, Problem } from './problem.js'

/** Changes that are tried at most. */
const mostChanges = 2000

/** A placement that is no worse. Stages in parts stay as they are. */
export function polished(
  problem: Problem,
  placement: Placement,
  objective: Objective,
  isLate: () => boolean,
): Placement {
  let best = placement
  let value = valueOf(costOf(problem, best), objective)
  let changes = 0
  for (let isBetter = true; isBetter;) {
    isBetter = false
    for (const changed of neighbours(problem, best)) {
      if (++changes > mostChanges || isLate()) return best
      const cost = costOf(problem, changed)
      if (!isLegal(cost) || valueOf(cost, objective) >= value * (1 - 1e-9)) continue
      best = changed
      value = valueOf(cost, objective)
      isBetter = true
      break
    }
  }
  return best
}

function* neighbours(problem: Problem, { stages }: Placement): Generator<Placement> {
  const idle = problem.classes.map(({ count }) => count)
  for (const { holding } of stages) {
    if (holding.kind === 'parts') for (const kind of holding.classes) idle[kind]!--
    else idle[holding.class]! -= turnsOf(holding)
  }
  for (const [at, { nodes, holding }] of stages.entries()) {
    if (holding.kind === 'parts') continue
    for (const kind of problem.classes.keys()) {
      if (kind === holding.class || idle[kind]! < turnsOf(holding)) continue
      yield { stages: stages.with(at, { nodes, holding: { ...holding, class: kind } }) }
    }
    for (let other = at + 1; other < stages.length; other++) {
      const second = stages[other]!
      if (second.holding.kind === 'parts' || second.holding.class === holding.class) continue
      yield {
        stages: stages.with(at, { nodes, holding: second.holding }).with(other, { nodes: second.nodes, holding }),
      }
    }
  }
  yield* moves(problem, stages)
}

/** A node to any other stage that leaves all in their order. */
function* moves({ nodes, values }: Problem, stages: readonly PlacedStage[]): Generator<Placement> {
  const stageOf = new Int32Array(nodes.length)
  for (const [at, { nodes: held }] of stages.entries()) for (const node of held) stageOf[node] = at
  const first = new Int32Array(nodes.length)
  const last = new Int32Array(nodes.length).fill(stages.length - 1)
  for (const { from, to } of values) {
    if (from === undefined) continue
    for (const node of to) {
      first[node] = Math.max(first[node]!, stageOf[from]!)
      last[from] = Math.min(last[from]!, stageOf[node]!)
    }
  }
  for (const node of nodes.keys()) {
    const here = stageOf[node]!
    if (stages[here]!.nodes.length === 1 || stages[here]!.holding.kind === 'parts') continue
    for (let there = first[node]!; there <= last[node]!; there++) {
      if (there === here || stages[there]!.holding.kind === 'parts') continue
      const without = { ...stages[here]!, nodes: stages[here]!.nodes.filter((other) => other !== node) }
      const withIt = { ...stages[there]!, nodes: [...stages[there]!.nodes, node].sort((a, b) => a - b) }
      yield { stages: stages.with(here, without).with(there, withIt) }
    }
  }
}

function turnsOf(holding: Holding): number {
  return holding.kind === 'replicas' ? holding.count : 1
}
