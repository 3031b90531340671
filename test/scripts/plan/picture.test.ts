import t from 'tap'
import type { ModelWork } from '#broker/planner/model-work.js'
import { pose } from '#broker/planner/pose.js'
import { adviceWords } from '#scripts/plan/advice-words.js'
import { showPercent, showRate, showTime, shorten } from '#scripts/plan/figures.js'
import { drawPlan } from '#scripts/plan/picture.js'
import { certificateWords, describePlan } from '#scripts/plan/report.js'
import { drawGraph } from '#scripts/plan/svg.js'
import { chainOptions, chainWork, draft, fleetFrom, planFor } from '#test/support/planned.js'

const work = chainWork([1000, 2000, 3000, 4000])
const fleet = fleetFrom('devices: [{ name: hub, memory: 1 MB }, { name: cam, count: 5, speed: 0.5, memory: 1 MB }]')
const region = { nodes: [1, 2], channels: 8, granule: 2, divided: [1, 2], dividedInputs: [], exact: true }
const parted = { ...work, regions: [region] }
const posed = pose(parted, fleet, { ...chainOptions, maxReplicas: 2, maxParts: 2 })
const wide = draft(parted, fleet, posed, {
  stages: [
    { nodes: [0], holding: { kind: 'one', class: 1 } },
    { nodes: [1, 2], holding: { kind: 'parts', region: 0, classes: [0, 1] } },
    { nodes: [3], holding: { kind: 'replicas', class: 1, count: 2 } },
  ],
})

t.test(
  'the picture goes from the client through every stage and back, with the load of all that is on the way',
  (t) => {
    const text = drawPlan(wide).join('\n')
    for (const words of [
      /^ ○ +client$/m,
      /^ 0 +█+.* cam-1 +2\.00 ms \+ \d+.* n0$/m,
      /^ 1 +█+.* hub +3\.75 ms.* channels 0 to 6 of 2 nodes, n1 … n2$/m,
      /^ 1 +█+.* cam-2 +2\.50 ms.* channels 6 to 8$/m,
      /^ 2 +█+.* 100 % +cam-3, cam-4 in turn +8\.00 ms.* n3$/m,
      /^ │ .* 1\.0 KB to hub /m,
      /^ │ .* 750 B from hub /m,
    ]) {
      t.match(text, words)
    }
    t.end()
  },
)

t.test('the report names every device, the bottleneck and how good the plan is', (t) => {
  const text = describePlan(wide, [['idle', 'nobody']])
  for (const word of [
    'cam-1',
    'cam-2',
    'cam-3',
    'cam-4',
    'hub',
    'throughput',
    'latency',
    'bottleneck',
    'certificate',
    'nobody',
  ])
    t.ok(text.includes(word), word)
  t.match(text, /the 2 devices in turn with stage 2: always busy/)
  t.end()
})

t.test('a certificate is said as it is: proven, or how much better another plan could be', (t) => {
  const { plan } = planFor(work, fleet)
  const say = (gap: number, kind: 'throughput' | 'latency') =>
    certificateWords({
      ...plan,
      objective: { kind },
      certificate: { ...plan.certificate, gap, proof: 'this', remark: 'that' },
    })
  t.match(say(0, 'throughput'), /^no chain of stages on this fleet is better: proven \(this\)$/)
  t.match(say(0.25, 'throughput'), /none is faster by more than 25 % \(this\); that$/)
  t.match(say(3, 'throughput'), /none is more than 4\.0 times as fast/)
  t.match(say(0.25, 'latency'), /none is better by more than 20 %/)
  t.match(say(40, 'throughput'), /none is more than 41 times as fast/)
  t.match(say(1e15, 'throughput'), /how much better .* is not known/)
  t.end()
})

/** The elements of an XML text, by the name of their tag; fails where it is not well-formed. */
function elementsOf(text: string): Map<string, number> {
  const open: string[] = []
  const counts = new Map<string, number>()
  const rest = text.replace(
    /<(\/?)([\w-]+)((?:\s+[\w:-]+="[^"<>]*")*)\s*(\/?)>/g,
    (_, close: string, name: string, __, empty: string) => {
      if (close === '/') {
        if (open.pop() !== name) throw new Error(`</${name}> closes another`)
      } else {
        counts.set(name, (counts.get(name) ?? 0) + 1)
        if (empty === '') open.push(name)
      }
      return ''
    },
  )
  if (open.length > 0) throw new Error(`<${open[0]}> is not closed`)
  if (/[<>]|&(?!amp;|lt;|gt;|quot;)/.test(rest)) throw new Error('markup in the text')
  return counts
}

t.test('the drawing is well-formed, with every node, every device and the bytes that cross', (t) => {
  const svg = drawGraph(wide, parted)
  const elements = elementsOf(svg)
  t.equal(elements.get('linearGradient'), 1, 'the stage in parts has its stripes')
  t.equal(elements.get('circle'), 2, 'the client, twice')
  for (const word of [
    'cam-1',
    'hub ch. 0–6',
    'cam-2 ch. 6–8',
    'stage 2 · in turn',
    '750 B',
    'n0',
    'n3',
    'proven optimal',
  ])
    t.ok(svg.includes(word), word)
  t.notMatch(svg, /NaN|undefined|Infinity/)
  t.end()
})

t.test('names of strangers are text and nothing else, in the drawing and on the terminal', (t) => {
  const nasty = `<script>alert("1")</script>\u001b[2J&\u0000`
  const evil: ModelWork = {
    ...work,
    nodes: work.nodes.map((node) => ({ ...node, name: `${node.name}${nasty}`, opType: nasty })),
    values: work.values.map((value) => ({ ...value, name: `${value.name}${nasty}` })),
  }
  const { plan } = planFor(evil, fleet)
  const svg = drawGraph(plan, evil)
  elementsOf(svg)
  t.notMatch(svg, /<script/)
  // eslint-disable-next-line no-control-regex -- these are what must not be there
  t.notMatch(svg, /[\u0000-\u0009\u000b-\u001f]/)
  // eslint-disable-next-line no-control-regex -- these are what must not be there
  t.notMatch(describePlan(plan), /[\u0000-\u0009\u000b-\u001f]/)
  t.end()
})

t.test('a long branching model is folded, and no two nodes lie on each other', (t) => {
  const count = 200
  const long = chainWork(Array.from({ length: count }, (_, index) => 1 + (index % 7)))
  const branching: ModelWork = {
    ...long,
    values: long.values.map((value, index) => (index % 9 === 3 ? { ...value, from: Math.max(0, index - 4) } : value)),
  }
  const { plan } = planFor(long, fleet)
  const svg = drawGraph(plan, branching)
  elementsOf(svg)
  const boxes = [...svg.matchAll(/<g><title>n\d+\n[^<]*<\/title>\n<rect x="([\d.]+)" y="([\d.]+)"/g)].map(
    ([, x, y]) => `${x} ${y}`,
  )
  t.equal(boxes.length, count)
  t.equal(new Set(boxes).size, count)
  const [, width, height] = /width="([\d.]+)" height="([\d.]+)"/.exec(svg)!
  t.ok(Number(width) < 4 * Number(height), `${width} x ${height}`)
  t.end()
})

t.test('figures are short, and read as people write them', (t) => {
  t.strictSame([0, 3.12, 310.4, 999.6, 3120, 45_600, 123_456, 2_500_000].map(showTime), [
    '0.0 us',
    '3.1 us',
    '310 us',
    '1.00 ms',
    '3.12 ms',
    '45.6 ms',
    '123 ms',
    '2.50 s',
  ])
  t.strictSame([0, 0.004, 0.0996, 0.31, 1].map(showPercent), ['0 %', '0.4 %', '10 %', '31 %', '100 %'])
  t.strictSame([1000, 1361, 27_700, 3e6].map(showRate), ['1000/s', '735/s', '36.1/s', '0.333/s'])
  t.equal(shorten('abcdefghij', 5), 'ab…ij')
  t.equal(shorten('abc', 5), 'abc')
  const one = { kind: 'link' as const, about: '', says: 'a second link', rank: 0, value: 500, gain: 0.31 }
  t.equal(adviceWords(one, { kind: 'throughput' }), 'a second link: +31 % (2000/s)')
  t.equal(adviceWords(one, { kind: 'latency' }), 'a second link: latency -31 % (500 us)')
  t.equal(adviceWords(one, { kind: 'batch', requests: 3 }), 'a second link: time -31 % (500 us)')
  t.equal(
    adviceWords({ ...one, value: 0.2 }, { kind: 'memory' }),
    'a second link: -31 % memory (20 % of the fullest device)',
  )
  t.equal(adviceWords({ ...one, gain: 0 }, { kind: 'latency' }), 'a second link: no difference')
  t.match(adviceWords({ ...one, value: undefined, gain: -1 }, { kind: 'latency' }), /does not fit/)
  t.end()
})
