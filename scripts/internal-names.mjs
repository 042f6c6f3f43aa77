// Which property names of the browser client are its own business, and may be called something shorter in its bundle.
//
// A name is kept if anybody outside the client can know it, so all of these are: what a type that the entry exports says, directly
// or by types that it mentions; every word of protocol/, for the wire; every name that language or browser declare; and every string
// of the client that could name a property. Nothing is listed by hand.
import { resolve } from 'node:path'
import { SyntaxKind } from 'typescript/unstable/ast'
import { API } from 'typescript/unstable/sync'

const ALIAS = 1 << 21
/** What is no part of a declaration's type. */
const HIDDEN = new Set([SyntaxKind.Block, SyntaxKind.PrivateIdentifier])
const STRINGS = new Set([SyntaxKind.StringLiteral, SyntaxKind.NoSubstitutionTemplateLiteral])

/** Calls `visit` for a node and all below it; where it answers false, not for what is below. */
function walk(node, visit) {
  if (visit(node) !== false) node.forEachChild((child) => walk(child, visit))
}

/** The names below a node, and its strings. */
function namesIn(node) {
  const names = new Set()
  walk(node, ({ kind, text }) => {
    if (kind === SyntaxKind.Identifier || STRINGS.has(kind)) names.add(text)
  })
  return names
}

/** The names in what a module exports, and in every declaration that is ours and that those mention. */
function exportedNames(entry, checker, isOurs) {
  const names = new Set()
  const seen = new Set()
  function declare(symbol) {
    if (symbol === undefined || seen.has(symbol.id)) return
    seen.add(symbol.id)
    if (symbol.flags & ALIAS) return declare(checker.getAliasedSymbol(symbol))
    for (const handle of symbol.declarations) {
      if (!isOurs(handle.path)) continue
      walk(handle.resolve(), (node) => {
        if (HIDDEN.has(node.kind)) return false
        if (STRINGS.has(node.kind)) names.add(node.text)
        if (node.kind === SyntaxKind.Identifier) {
          names.add(node.text)
          declare(checker.getSymbolAtLocation(node))
        }
      })
    }
  }
  for (const symbol of checker.getExportsOfModule(checker.getSymbolAtLocation(entry))) declare(symbol)
  return names
}

/** The names that the modules behind `entry`, in a TypeScript project, share with nobody else. */
export function internalNames(project, entry) {
  const api = new API({ cwd: process.cwd() })
  try {
    const [{ program, checker }] = api.updateSnapshot({ openProject: resolve(project) }).getProjects()
    const [client, protocol] = ['client/', 'protocol/'].map((folder) => resolve(folder) + '/')
    const files = program.getSourceFileNames()
    const ours = files.filter((path) => path.startsWith(client)).map((path) => program.getSourceFile(path))
    const known = exportedNames(program.getSourceFile(resolve(entry)), checker, (path) =>
      [client, protocol].some((folder) => path.startsWith(folder)),
    )
    for (const path of files) {
      if (path.startsWith(client)) continue
      for (const name of namesIn(program.getSourceFile(path))) known.add(name)
    }
    const internal = new Set()
    for (const file of ours) {
      walk(file, ({ kind, text, type }) => {
        if (kind === SyntaxKind.AsExpression) for (const name of namesIn(type)) known.add(name)
        if (STRINGS.has(kind)) known.add(text)
        else if (kind === SyntaxKind.Identifier) internal.add(text)
      })
    }
    return [...internal].filter((name) => !known.has(name))
  } finally {
    api.close()
  }
}
