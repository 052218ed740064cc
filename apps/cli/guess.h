/* What somebody may have meant who mistyped a word. */
#ifndef LOOKSAY_CLI_GUESS_H
#define LOOKSAY_CLI_GUESS_H

typedef struct guess {
    const char *word; /* the nearest that was considered, borrowed; NULL: none was near */
    int distance;
} guess;

/* Takes `word` if it is nearer to what was typed than what the guess holds: a slip for every three letters typed is near, and so is
 * a word that begins with three letters or more that were typed. A slip is a letter too many, missing or wrong, or two in each
 * other's place. */
void guess_consider(guess *g, const char *typed, const char *word);

#endif
