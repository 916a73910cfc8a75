-- wrong
selec 1
