/* Directories of pods that nobody knows any more: volumes unmounted and removed, logs too. */
#pragma once
#include "kubelet/pod.h"
void orphans_clean(struct kubelet *k);
