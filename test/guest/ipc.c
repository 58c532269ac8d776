// System V shared memory, semaphores and messages; POSIX shared memory
#include "check.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

union semun {
  int val;
  struct semid_ds *buf;
  unsigned short *array;
};

static int attaches(void *arg) {
  char *at = shmat(*(int *)arg, NULL, 0);
  if (at == (void *)-1) return 1;
  strcpy(at + 10, "child");
  shmdt(at);
  return 0;
}

static int waits_on_semaphore(void *arg) {
  struct sembuf down = {0, -1, 0};
  return semop(*(int *)arg, &down, 1) == 0 ? 4 : 5;
}

static int takes_with_undo(void *arg) {
  struct sembuf down = {1, -1, SEM_UNDO};
  return semop(*(int *)arg, &down, 1) == 0 ? 0 : 1;
}

static int sends(void *arg) {
  struct {
    long type;
    char text[32];
  } m = {7, "from the child"};
  sleep_ms(30);
  return msgsnd(*(int *)arg, &m, 15, 0);
}

int main(void) {
  SECTION("shared memory");
  int shm = MUST(shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600));
  char *at = shmat(shm, NULL, 0), *twin = shmat(shm, NULL, SHM_RDONLY);
  HOLDS(at != (void *)-1 && twin != (void *)-1 && at != twin);
  strcpy(at, "parent");
  printf("twin sees %s\n", twin);
  in_child("child", attaches, &shm);
  printf("here: %s %s\n", at, at + 10);
  struct shmid_ds ds;
  CALL(shmctl(shm, IPC_STAT, &ds));
  printf("size %zu attached %d mode %o mine %d\n", ds.shm_segsz, (int)ds.shm_nattch, ds.shm_perm.mode & 0777, ds.shm_cpid == getpid());
  CALL(shmctl(shm, IPC_RMID, NULL));
  CALL(shmctl(shm, IPC_STAT, &ds));
  printf("still attached: %s, destroyed flag %d\n", at, !!(ds.shm_perm.mode & SHM_DEST));
  CALL(shmdt(at));
  CALL(shmdt(at));
  CALL(shmdt(twin));
  CALL(shmctl(shm, IPC_STAT, &ds));
  CALL(shmget(0x1234, 100, 0600));
  int keyed = MUST(shmget(0x1234, 100, IPC_CREAT | IPC_EXCL | 0600));
  CALL(shmget(0x1234, 100, IPC_CREAT | IPC_EXCL | 0600));
  HOLDS(shmget(0x1234, 50, 0600) == keyed);
  CALL(shmget(0x1234, 5000, 0600));
  CALL(shmget(0x99, 0, IPC_CREAT | 0600));
  CALL(shmat(keyed, (void *)4097, 0));
  CALL(shmctl(keyed, IPC_RMID, NULL));
  CALL(shmctl(keyed, 99, NULL));

  SECTION("semaphores");
  int sem = MUST(semget(IPC_PRIVATE, 3, IPC_CREAT | 0600));
  unsigned short values[3] = {0, 2, 5};
  CALL(semctl(sem, 0, SETALL, (union semun){.array = values}));
  CALL(semctl(sem, 2, GETVAL));
  CALL(semctl(sem, 9, GETVAL));
  struct sembuf try = {0, -1, IPC_NOWAIT}, two[2] = {{1, -1, IPC_NOWAIT}, {0, -1, IPC_NOWAIT}}, up = {0, 1, 0}, zero = {2, 0, IPC_NOWAIT};
  CALL(semop(sem, &try, 1));
  CALL(semop(sem, two, 2));
  CALL(semctl(sem, 1, GETVAL));
  CALL(semop(sem, &zero, 1));
  pid_t child = spawn_child(waits_on_semaphore, &sem);
  while (semctl(sem, 0, GETNCNT) != 1) sleep_ms(5);
  CALL(semop(sem, &up, 1));
  int status;
  waitpid(child, &status, 0);
  print_status("waiter", status);
  HOLDS(semctl(sem, 0, GETPID) == child);
  in_child("takes one and ends", takes_with_undo, &sem);
  CALL(semctl(sem, 1, GETVAL));
  struct timespec ms20 = {0, 20000000};
  struct sembuf down = {0, -1, 0};
  CALL(semtimedop(sem, &down, 1, &ms20));
  child = spawn_child(waits_on_semaphore, &sem);
  while (semctl(sem, 0, GETNCNT) != 1) sleep_ms(5);
  CALL(semctl(sem, 0, IPC_RMID));
  waitpid(child, &status, 0);
  print_status("waiter of a removed set", status);
  CALL(semop(sem, &up, 1));
  CALL(semget(IPC_PRIVATE, 0, IPC_CREAT | 0600));

  SECTION("messages");
  int queue = MUST(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
  struct {
    long type;
    char text[32];
  } m = {3, "third"};
  CALL(msgsnd(queue, &m, 6, 0));
  m.type = 1, strcpy(m.text, "first");
  CALL(msgsnd(queue, &m, 6, 0));
  m.type = 0;
  CALL(msgsnd(queue, &m, 6, 0));
  CALL(msgrcv(queue, &m, 32, 2, IPC_NOWAIT));
  CALL(msgrcv(queue, &m, 2, 1, IPC_NOWAIT));
  CALL(msgrcv(queue, &m, 2, 1, IPC_NOWAIT | MSG_NOERROR));
  CALL(msgrcv(queue, &m, 32, -5, 0));
  printf("%ld %s\n", m.type, m.text);
  CALL(msgrcv(queue, &m, 32, 0, IPC_NOWAIT));
  child = spawn_child(sends, &queue);
  CALL(msgrcv(queue, &m, 32, 0, 0));
  printf("%ld %s\n", m.type, m.text);
  waitpid(child, NULL, 0);
  struct msqid_ds qs;
  CALL(msgctl(queue, IPC_STAT, &qs));
  printf("%d waiting\n", (int)qs.msg_qnum);
  CALL(msgctl(queue, IPC_RMID, NULL));
  CALL(msgsnd(queue, &m, 6, 0));

  SECTION("POSIX shared memory");
  char name[64];
  sprintf(name, "/runsc-test-%d-%ld", getpid(), (long)time(NULL));
  int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
  HOLDS(fd >= 0);
  CALL(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
  CALL(ftruncate(fd, 4096));
  char *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  strcpy(mapped, "posix");
  char text[10];
  CALL(pread(fd, text, 6, 0));
  printf("%s\n", text);
  CALL(shm_unlink(name));
  CALL(shm_unlink(name));
  return 0;
}
