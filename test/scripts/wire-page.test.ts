import t from 'tap'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { wirePage } from '#scripts/wire-page.js'
import { topicNames } from '#test/support/messages.js'
import { topics } from '#shared/protocol/topics.js'

t.test('docs/wire.md is what the topic table makes of it', async (t) => {
  const path = resolve(import.meta.dirname, '../../../docs/wire.md')
  t.equal(await readFile(path, 'utf8'), wirePage(), 'run: npm run generate')
})

t.test('the page names every topic, its limit, and every body', (t) => {
  const page = wirePage()
  for (const name of topicNames) {
    t.ok(page.includes(`| \`${topics[name].path}\` |`), name)
    t.ok(page.includes(topics[name].about), name)
    if (topics[name].body !== undefined) t.match(page, new RegExp(`^### ${name}$`, 'm'))
  }
  t.notMatch(page, /undefined|\[object|anything/)
  t.end()
})
