/** Tells people what takes so long: a live line on a terminal, now and then a plain one elsewhere. */

const redrawMs = 100
const plainEveryMs = 10000

export class Progress {
  constructor(stream, env) {
    this.stream = stream
    this.live = stream.isTTY === true && env.TERM !== 'dumb' && !env.CI
    this.timer = undefined
  }

  /** Starts a step; what `detail()` says stands behind its name and its seconds. */
  begin(what, reason, detail) {
    this.end()
    this.sinceMs = Date.now()
    const line = () => {
      const more = detail === undefined ? '' : detail()
      return `tessera: ${what} … ${seconds(this.sinceMs)}${more === '' ? '' : `, ${more}`}`
    }
    if (!this.live) this.stream.write(`tessera: ${what} (${reason}) …\n`)
    const show = () =>
      this.stream.write(this.live ? `\r\x1b[K${line().slice(0, (this.stream.columns || 80) - 1)}` : `${line()}\n`)
    if (this.live) show()
    this.timer = setInterval(show, this.live ? redrawMs : plainEveryMs)
  }

  done(what) {
    this.end()
    this.stream.write(`tessera: ${what} in ${seconds(this.sinceMs)}\n`)
  }

  /** Takes the live line away; what is written next starts on a clean line. */
  end() {
    if (this.timer === undefined) return
    clearInterval(this.timer)
    this.timer = undefined
    if (this.live) this.stream.write('\r\x1b[K')
  }
}

function seconds(sinceMs) {
  const elapsed = (Date.now() - sinceMs) / 1000
  return elapsed < 10 ? `${elapsed.toFixed(1)} s` : `${Math.round(elapsed)} s`
}
