/** Plain tables for people. */

/**
 * Rows as aligned columns, two spaces apart; columns named in `right` (by index) are flush right. Names come out of
 * strangers' files, so every cell is made printable.
 */
export function table(given: readonly (readonly string[])[], right: readonly number[] = []): string {
  const rows = given.map((row) => row.map(printable))
  const widths: number[] = []
  for (const row of rows)
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        right.includes(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd()
  return rows.map((row) => `${line(row)}\n`).join('')
}

/** Text without the control characters that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}+/gu, '�')
}

/** A number of bytes for people: `803 KB`. Powers of 1000. */
export function showBytes(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB']
  let amount = bytes
  let unit = 0
  while (amount >= 999.5 && unit < units.length - 1) {
    amount /= 1000
    unit++
  }
  return `${unit === 0 || amount >= 99.5 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`
}

/** A part of `width` cells, in eighths of a cell; anything above nothing shows. */
export function bar(share: number, width: number): string {
  const eighths = share > 0 ? Math.max(1, Math.round(share * width * 8)) : 0
  return '█'.repeat(eighths >> 3) + ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths & 7]
}

/** A progress bar on a terminal's stderr, at most ten times a second; nothing elsewhere. */
export function progressBar(what: string): { show(done: number, total: number): void; clear(): void } {
  const { stderr } = process
  let shownMs = 0
  return {
    show(done, total) {
      const nowMs = performance.now()
      if (!stderr.isTTY || nowMs - shownMs < 100) return
      shownMs = nowMs
      stderr.write(`\r${what} ${bar(done / total, 30).padEnd(30)} ${done}/${total}`)
    },
    clear() {
      if (stderr.isTTY) stderr.write('\r\x1b[K')
    },
  }
}
