/*
 * How the machine was found: what `up` changes that is not a file of ours (sysctls, directories
 * that were there already), recorded once before the first change, put back by `reset`.
 */
#pragma once
#include "cli/layout.h"
int found_record(const struct layout *l, struct error **err); /* keeps an existing record */
int found_restore(const struct layout *l, struct error **err);
/* true when path existed before us (or when nothing is recorded). */
bool found_had(const struct layout *l, const char *path);
