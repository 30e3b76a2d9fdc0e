/* Where it was before deliver needed it, too. */
#include "mime/imap_envelope.h"
