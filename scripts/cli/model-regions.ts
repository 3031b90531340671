/** `tessera model regions`: what can be parted by channels, so that several devices do one layer together. */

import type { Prepared } from '#shared/onnx/prepare.js'
import { regionsOf, type Region, type RegionPort, type Regions } from '#shared/onnx/regions.js'
import { byteLength } from '#shared/onnx/tensor.js'
import { prepareSource, readSource, type SourceOptions } from './model-source.js'
import { printable, showBytes, table } from './model-table.js'

export async function showRegions(file: string, options: SourceOptions): Promise<void> {
  const { prepared } = await prepareSource(await readSource(file, options), options)
  const found = regionsOf(prepared)
  process.stdout.write(options.json ? `${JSON.stringify(listed(file, prepared, found))}\n` : describe(prepared, found))
}

function listed(file: string, { hash, level, signature, nodes }: Prepared, { regions, undivided }: Regions): object {
  const named = undivided.map(({ node, reason }) => ({ node, ...nodes[node], reason }))
  return { file, hash, level, signature, nodes, regions, undivided: named }
}

function describe(prepared: Prepared, { regions, undivided }: Regions): string {
  const { nodes, level, signature } = prepared
  const rows = regions.map((region) => [
    showNodes(region.nodes),
    showOps(prepared, region),
    region.banks === 1 ? String(region.channels) : `${region.banks} x ${region.channels}`,
    String(region.granule),
    showBytes(region.weightBytes),
    showBytes(bytesOf(region.receives)),
    showBytes(bytesOf(region.sends)),
    region.inexact === undefined ? 'yes' : `no: ${region.inexact}`,
  ])
  const head = ['nodes', 'what they do', 'channels', 'by', 'weights', 'takes', 'gives', 'exact']
  const reasons = undivided.map(({ node, reason }) => [
    String(node),
    nodes[node]?.opType ?? '',
    nodes[node]?.name ?? '',
    reason,
  ])
  const title = `${nodes.length} nodes at level ${level} for ${printable(signature)}: ${regions.length} regions`
  const rest = reasons.length === 0 ? '' : `\nin no region\n${table(reasons, [0])}`
  return `${title}\n${table([head, ...rows], [2, 3, 4, 5, 6])}${rest}`
}

function bytesOf(ports: readonly RegionPort[]): number {
  return ports.reduce((sum, { port }) => sum + byteLength(port), 0)
}

/** Ranges of numbers: `3-7,9`. */
function showNodes(nodes: readonly number[]): string {
  const ranges: [first: number, last: number][] = []
  for (const node of nodes) {
    const range = ranges.at(-1)
    if (range?.[1] === node - 1) range[1] = node
    else ranges.push([node, node])
  }
  return ranges.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(',')
}

/** Ops that are named; the others are counted. */
const namedOps = 4

function showOps({ nodes }: Prepared, region: Region): string {
  const ops = region.nodes.map((node) => nodes[node]?.opType ?? '')
  const more = ops.length > namedOps ? ` and ${ops.length - namedOps} more` : ''
  return `${ops.slice(0, namedOps).join(', ')}${more}`
}
