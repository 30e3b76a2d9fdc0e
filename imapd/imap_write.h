/* Where it was before deliver needed it, too. */
#include "mime/imap_write.h"
