/* verdict: what decides the fate of mail.  When in doubt, TEMP: mail is never lost. */
#ifndef PP_VERDICT_H
#define PP_VERDICT_H

enum verdict {
	OK,	/* done, or yes */
	TEMP,	/* keep it, try again: 4xx, NO */
	PERM,	/* never: 5xx, bounce */
};

#endif
