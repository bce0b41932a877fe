/*
 * Keeping container logs within containerLogMaxSize and containerLogMaxFiles: a log that grew over
 * the size is renamed
 * ("0.log.20261123-214436") and its writer told by CRI to open a new one; the oldest renamed ones
 * beyond the number are removed. Looked at every ten seconds, as upstream; renamed logs are not
 * compressed.
 */
#pragma once
#include "kubelet/pod.h"
struct log_rotator;
struct log_rotator *log_rotator_start(struct kubelet *k);
void log_rotator_stop(struct log_rotator *r); /* NULL accepted */
/* Renamed logs of this one that must go so that, with the log itself, max_files remain: removes the
 * oldest. */
void log_rotate_trim(const char *path, int64_t max_files);
