/** Time against size as a picture: two panels side by side, both axes logarithmic. */

export interface Series {
  readonly name: string
  readonly axis: 'devices' | 'layers'
  /** Size and seconds. */
  readonly points: readonly (readonly [number, number])[]
}

const [width, height] = [460, 380]
const margin = { left: 64, right: 16, top: 72, bottom: 56 }
/** Dark enough on white, apart for the colour-blind, with a shape each. */
const marks = [
  { colour: '#0b62a4', dash: '' },
  { colour: '#b34700', dash: '6 4' },
  { colour: '#1d7a3a', dash: '2 3' },
] as const
const leastSeconds = 1e-4

export function plot(series: readonly Series[]): string {
  const seconds = series.flatMap(({ points }) => points.map(([, y]) => Math.max(y, leastSeconds)))
  const range: [number, number] = [
    Math.floor(Math.log10(Math.min(...seconds))),
    Math.ceil(Math.log10(Math.max(...seconds))),
  ]
  const panels = (['devices', 'layers'] as const).map((axis, index) =>
    panel(
      axis,
      series.filter((line) => line.axis === axis),
      range,
      index * width,
    ),
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${2 * width} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
${panels.join('\n')}
</svg>
`
}

function panel(axis: string, series: readonly Series[], [low, high]: readonly [number, number], left: number): string {
  const sizes = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b)
  const [least, most] = [Math.log(sizes[0] ?? 1), Math.log(sizes.at(-1) ?? 2)]
  const [right, bottom] = [width - margin.right, height - margin.bottom]
  const x = (size: number): number => scaled(Math.log(size), least, most, margin.left, right)
  const y = (s: number): number => scaled(Math.log10(Math.max(s, leastSeconds)), low, high, bottom, margin.top)
  const parts: string[] = []
  for (let power = low; power <= high; power++) {
    const at = y(10 ** power).toFixed(1)
    parts.push(`<line x1="${margin.left}" x2="${right}" y1="${at}" y2="${at}" stroke="#dddddd"/>`)
    parts.push(text(margin.left - 8, Number(at) + 4, secondsOf(power), 'end'))
  }
  for (const size of sizes) parts.push(text(x(size), bottom + 18, String(size), 'middle'))
  parts.push(text((margin.left + right) / 2, height - 16, axis, 'middle'))
  parts.push(text(margin.left - 8, margin.top - 10, 'CPU', 'end'))
  for (const [index, { name, points }] of series.entries()) {
    const { colour, dash } = marks[index % marks.length]!
    const path = points.map(([size, s]) => `${x(size).toFixed(1)},${y(s).toFixed(1)}`)
    parts.push(
      `<polyline points="${path.join(' ')}" fill="none" stroke="${colour}" stroke-width="2" stroke-dasharray="${dash}"/>`,
    )
    for (const at of path) parts.push(`<circle cx="${at.replace(',', '" cy="')}" r="3" fill="${colour}"/>`)
    parts.push(
      `<text x="${margin.left}" y="${18 + 16 * index}" fill="${colour}">${dash === '' ? '—' : dash === '6 4' ? '- -' : '···'} ${name}</text>`,
    )
  }
  return `<g transform="translate(${left})">\n${parts.join('\n')}\n</g>`
}

function scaled(value: number, low: number, high: number, from: number, to: number): number {
  return high === low ? (from + to) / 2 : from + ((value - low) / (high - low)) * (to - from)
}

function secondsOf(power: number): string {
  return power >= 0 ? `${10 ** power} s` : power >= -3 ? `${10 ** (power + 3)} ms` : `${10 ** (power + 6)} us`
}

function text(x: number, y: number, words: string, anchor: 'middle' | 'end'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="#444444">${words}</text>`
}
