#include "engine/image/worker.h"

int main(int argc, char **argv)
{
    return image_worker_main(argc, argv);
}
