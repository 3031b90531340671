/** "Did you mean …?": the known word that somebody most likely meant. */

/** Names longer than this are no slip of the pen; it also bounds the work. */
const longest = 64

/** The known word nearest to `word`: begun or ended alike (`grace` for `graceMs`), or a few letters off. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length === 0 || word.length > longest) return undefined
  const asked = plain(word)
  let best: { word: string; distance: number } | undefined
  for (const candidate of known) {
    const distance = distanceTo(asked, plain(candidate))
    if (distance <= Math.max(1, asked.length / 3) && distance < (best?.distance ?? Infinity))
      best = { word: candidate, distance }
  }
  return best?.word
}

function distanceTo(asked: string, candidate: string): number {
  if (asked === candidate) return 0
  const shorter = Math.min(asked.length, candidate.length)
  if (shorter >= 3 && (candidate.startsWith(asked) || asked.startsWith(candidate))) return 1
  return editDistance(asked, candidate)
}

/** Case and joints do not matter: `listen_port` means `listenPort`. */
function plain(word: string): string {
  return word.toLowerCase().replace(/[-_ ]/g, '')
}

/** Letters to put in, leave out, change or swap with their neighbour (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let cost = Math.min(change, last[j]! + 1, row[j - 1]! + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1)
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}
