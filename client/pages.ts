interface Page {
  readonly cursor: string | null
}

/** The items of all pages of a list, page by page as they are read. `page` asks for the one at a cursor, null of the first. */
export async function* allPages<Listed extends Page, Item>(
  page: (cursor: string | null) => Promise<Listed>,
  items: (page: Listed) => readonly Item[],
): AsyncGenerator<Item, undefined> {
  let cursor: string | null = null
  do {
    const listed: Listed = await page(cursor)
    yield* items(listed)
    cursor = listed.cursor
  } while (cursor !== null)
  return undefined
}
