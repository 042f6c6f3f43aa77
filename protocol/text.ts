const LONE_SURROGATE = /\p{Surrogate}/u

/**
 * Whether UTF-8 can say `text`: it has no half of a surrogate pair, which JSON may write and a store cannot keep apart from
 * another one.
 */
export const isWellFormed = (text: string): boolean => !LONE_SURROGATE.test(text)
